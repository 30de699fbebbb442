/**
 * Reader of the declarations of an untrusted WebAssembly module: imports, exports, signatures and
 * the limits of its memories. It checks no code; the engine does that. Plain JavaScript, because the worker in the jail
 * loads it as well as the analysis.
 *
 *     readModule(bytes).exports.some(({ name }) => name === '_start')
 */

/** Maximum entries of a list; the engine accepts more, but such a module is an attack. */
const ENTRIES_MAX = 100_000
const NAME_BYTES_MAX = 100_000
const HEADER = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]
const KINDS = /** @type {const} */ (['function', 'table', 'memory', 'global', 'tag'])
const SECTION = { type: 1, import: 2, function: 3, memory: 5, export: 7, start: 8, code: 10 }
/** Pages of a memory with 32-bit addresses. */
const PAGES_MAX = 65_536
const HAS_MAXIMUM = 1
const IS_SHARED = 2
const IS_64 = 4

/** Value types by their byte; all others stand for references. @type {Readonly<Record<number, string>>} */
const NUMBERS = { 0x7f: 'i32', 0x7e: 'i64', 0x7d: 'f32', 0x7c: 'f64' }

/** Error with the offset of invalid bytes. */
export class WasmError extends Error {
  name = 'WasmError'

  /** @param {string} why @param {number} offset */
  constructor(why, offset) {
    super(`${why} at offset ${offset}`)
    this.offset = offset
  }
}

/**
 * @typedef {{ flags: number, initial: number, maximum: number | undefined, isShared: boolean, is64: boolean }} Limits
 *   counted in pages; a number past 2 ** 53 is rounded
 * @typedef {{ params: string[], results: string[] }} Signature
 * @typedef {{ module: string, name: string, kind: string, limits?: Limits }} Import
 * @typedef {{ name: string, kind: string, index: number }} Export
 * @typedef {{ start: number, end: number }} Section offsets
 * @typedef {{
 *   imports: Import[], exports: Export[], memories: Limits[],
 *   memorySection: Section | undefined, exportSection: Section | undefined,
 *   startSection: Section & { index: number } | undefined,
 *   signatureOf(index: number): Signature | undefined,
 * }} Declared
 */

/**
 * Reads a module's sections before its code. Throws WasmError for an invalid one.
 * @param {Uint8Array} bytes
 * @returns {Declared}
 */
export function readModule(bytes) {
  const reader = new Reader(bytes)
  for (const byte of HEADER) {
    const at = reader.at
    if (reader.byte() !== byte) throw new WasmError('This is no WebAssembly module', at)
  }
  /** @type {(Signature | undefined)[]} */
  const types = []
  /** @type {number[]} */
  const functions = []
  /** @type {Declared} */
  const declared = {
    imports: [],
    exports: [],
    memories: [],
    memorySection: undefined,
    exportSection: undefined,
    startSection: undefined,
    signatureOf: (index) => types[functions[index] ?? -1],
  }
  while (reader.at < bytes.length) {
    const start = reader.at
    const id = reader.byte()
    const end = reader.u32() + reader.at
    if (end > bytes.length) throw new WasmError('A section reaches past the end', start)
    if (id === SECTION.code) break
    const section = new Reader(bytes, reader.at, end)
    if (id === SECTION.type) section.list(() => readTypes(section, types))
    if (id === SECTION.import) section.list(() => readImport(section, declared, functions))
    if (id === SECTION.function) section.list(() => functions.push(section.u32()))
    if (id === SECTION.memory) {
      declared.memorySection = { start, end }
      section.list(() => declared.memories.push(readMemory(section)))
      if (section.at !== end) throw new WasmError('A section is longer than its list', section.at)
    }
    if (id === SECTION.export) {
      declared.exportSection = { start, end }
      section.list(() => declared.exports.push(readExport(section)))
    }
    if (id === SECTION.start) declared.startSection = { start, end, index: section.u32() }
    reader.at = end
  }
  return declared
}

/**
 * Caps the maximum of the module's own memories at their initial pages and `growthMax` more.
 * @param {Uint8Array} bytes
 * @param {Declared} declared
 * @param {number} growthMax
 * @returns {Uint8Array}
 */
export function withMemoryMaximum(bytes, { memories, memorySection }, growthMax) {
  if (memorySection === undefined) return bytes
  const content = [...leb(memories.length)]
  for (const { flags, initial, maximum = Infinity } of memories) {
    const most = Math.min(maximum, initial + growthMax)
    content.push(flags | HAS_MAXIMUM, ...leb(initial), ...leb(most))
  }
  const section = [SECTION.memory, ...leb(content.length), ...content]
  const { start, end } = memorySection
  return Buffer.concat([bytes.subarray(0, start), Uint8Array.from(section), bytes.subarray(end)])
}

/**
 * Exports the start function of a module that the engine has validated, under a name of its own, instead of having it
 * started: its caller has no exported memory and no counter while the engine starts it.
 * @param {Uint8Array} bytes
 * @param {Declared} declared
 * @returns {{ bytes: Uint8Array, start: string | undefined }}
 */
export function withStartExported(bytes, { exports, exportSection, startSection }) {
  if (startSection === undefined) return { bytes, start: undefined }
  const start = freeName('mayfly:start', new Set(exports.map(({ name }) => name)))
  const entry = [...named(start), 0, ...leb(startSection.index)]
  const place = exportSection ?? { start: startSection.start, end: startSection.start }
  const list = new Reader(bytes, place.start, place.end)
  if (exportSection) void [list.byte(), list.u32(), list.u32()]
  const count = leb(exports.length + 1)
  const size = leb(count.length + place.end - list.at + entry.length)
  const parts = [
    bytes.subarray(0, place.start),
    Uint8Array.of(SECTION.export, ...size, ...count),
    bytes.subarray(list.at, place.end),
    Uint8Array.from(entry),
    bytes.subarray(place.end, startSection.start),
    bytes.subarray(startSection.end),
  ]
  return { bytes: Buffer.concat(parts), start }
}

/** @param {string} stem @param {ReadonlySet<string>} taken */
export function freeName(stem, taken) {
  let name = stem
  for (let count = 1; taken.has(name); count++) name = `${stem}:${count}`
  return name
}

/** @param {string} name */
export function named(name) {
  const bytes = Buffer.from(name)
  return [...leb(bytes.length), ...bytes]
}

/** @param {Reader} reader @param {(Signature | undefined)[]} types */
function readTypes(reader, types) {
  const form = reader.byte()
  if (form === 0x4e) return reader.list(() => readSubtype(reader, reader.byte(), types))
  return readSubtype(reader, form, types)
}

/** @param {Reader} reader @param {number} form @param {(Signature | undefined)[]} types */
function readSubtype(reader, form, types) {
  const isSub = form === 0x50 || form === 0x4f
  if (isSub) reader.list(() => reader.u32())
  types.push(readComposite(reader, isSub ? reader.byte() : form))
}

/** @param {Reader} reader @param {number} form @returns {Signature | undefined} */
function readComposite(reader, form) {
  const at = reader.at - 1
  if (form === 0x60) {
    const [params, results] = [/** @type {string[]} */ ([]), /** @type {string[]} */ ([])]
    reader.list(() => params.push(readValueType(reader)))
    reader.list(() => results.push(readValueType(reader)))
    return { params, results }
  }
  const readField = () => void [readValueType(reader), reader.byte()]
  if (form === 0x5f) reader.list(readField)
  else if (form === 0x5e) readField()
  else throw new WasmError('A type has an unknown form', at)
  return undefined
}

/** @param {Reader} reader */
function readValueType(reader) {
  const byte = reader.byte()
  if (byte === 0x63 || byte === 0x64) reader.varint()
  return NUMBERS[byte] ?? 'reference'
}

/** @param {Reader} reader @param {Declared} declared @param {number[]} functions */
function readImport(reader, { imports }, functions) {
  const [module, name] = [reader.name(), reader.name()]
  const kind = readKind(reader)
  if (kind === 'function') functions.push(reader.u32())
  if (kind === 'table' || kind === 'global') readValueType(reader)
  if (kind === 'global' || kind === 'tag') reader.byte()
  if (kind === 'tag') reader.u32()
  const limits = kind === 'table' || kind === 'memory' ? readLimits(reader) : undefined
  imports.push({ module, name, kind, ...(kind === 'memory' && limits && { limits }) })
}

/** @param {Reader} reader @returns {Export} */
function readExport(reader) {
  return { name: reader.name(), kind: readKind(reader), index: reader.u32() }
}

/** @param {Reader} reader */
function readKind(reader) {
  const kind = KINDS[reader.byte()]
  if (kind === undefined)
    throw new WasmError('An import or export has an unknown kind', reader.at - 1)
  return kind
}

/**
 * Limits of an own memory, which are written anew: what the engine refuses is refused here. @param {Reader} reader
 * @returns {Limits}
 */
function readMemory(reader) {
  const at = reader.at
  const limits = readLimits(reader)
  const { is64, initial, maximum = 0 } = limits
  if (is64 || Math.max(initial, maximum) <= PAGES_MAX) return limits
  throw new WasmError('A memory has too many pages', at)
}

/** @param {Reader} reader @returns {Limits} */
export function readLimits(reader) {
  const flags = reader.byte()
  if (flags > (HAS_MAXIMUM | IS_SHARED | IS_64))
    throw new WasmError('Limits have unknown flags', reader.at - 1)
  const number = () => (flags & IS_64 ? reader.varint() : reader.u32())
  const initial = number()
  const maximum = flags & HAS_MAXIMUM ? number() : undefined
  return {
    flags,
    initial,
    maximum,
    isShared: (flags & IS_SHARED) !== 0,
    is64: (flags & IS_64) !== 0,
  }
}

/** @param {number} value @returns {number[]} */
export function leb(value) {
  const bytes = []
  for (let rest = BigInt(value); ; rest >>= 7n) {
    const low = Number(rest & 0x7fn)
    if (rest < 0x80n) return [...bytes, low]
    bytes.push(low | 0x80)
  }
}

/** A reader bounded by two offsets. */
export class Reader {
  /** @param {Uint8Array} bytes @param {number} [start] @param {number} [end] */
  constructor(bytes, start = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  byte() {
    if (this.at >= this.end) throw new WasmError('The module ends too soon', this.at)
    return /** @type {number} */ (this.bytes[this.at++])
  }

  /** An unsigned LEB128 integer of at most 32 bits. */
  u32() {
    const at = this.at
    const value = this.varint()
    if (value > 0xffff_ffff || this.at - at > 5) throw new WasmError('A number is too long', at)
    return value
  }

  /** An unsigned LEB128 integer of at most 64 bits. */
  varint() {
    const start = this.at
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte()
      if (this.at - start > 10) throw new WasmError('A number is too long', start)
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }

  name() {
    const at = this.at
    const length = this.u32()
    if (length > NAME_BYTES_MAX || this.at + length > this.end) {
      throw new WasmError('A name is too long', at)
    }
    this.at += length
    return Buffer.from(this.bytes.subarray(this.at - length, this.at)).toString()
  }

  /** @param {() => unknown} readOne */
  list(readOne) {
    const at = this.at
    const count = this.u32()
    if (count > ENTRIES_MAX) throw new WasmError('A list is too long', at)
    for (let index = 0; index < count; index++) readOne()
  }
}
