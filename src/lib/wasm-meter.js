/**
 * Counts the instructions of an untrusted WebAssembly module by rewriting it, because V8 has no fuel. A mutable `i64`
 * global is added after all others, so that no index of the module changes, and exported under a name of its own: a
 * module cannot name a global that it does not have, and does not see its own exports. Each segment (a basic block:
 * from a function's entry, a loop's head, or a branch target) begins by subtracting its number of instructions from
 * that global, and traps if the result is negative.
 *
 * An instruction counts as one. `block`, `loop`, `else`, `end` and the markers of exception handlers are free, because
 * no program can run for ever without other instructions. Bulk fill and copy cost one more for each 8 bytes, or for
 * each element of a table or an array. A call of the host ends its segment. So the count is exact for a run that
 * returns or exits; a segment that is cut by a trap or an exception is counted in full.
 *
 * Relies on the engine having validated the original: only then is a reference to the added global impossible. The
 * module has no start section, so that its caller can set the fuel before anything runs (`withStartExported`). Unknown
 * opcodes and sections, and too deep nesting, throw WasmError. Custom sections but `name` are dropped: offsets in them
 * would be wrong.
 *
 *     const metered = meter(bytes, readModule(bytes))
 */
import { op, readInstruction, skipExpression, skipValueType } from './wasm-instructions.js'
import { freeName, leb, named, Reader, readLimits, WasmError } from './wasm-module.js'

const CONTROL_DEPTH_MAX = 50_000
/** Limit of functions, lower than the engine's; a module with more is an attack. */
const FUNCTIONS_MAX = 100_000
/** A metered module is 2 to 4 times as large as its original. */
const METERED_BYTES_MAX = 64 * 2 ** 20
/** Bytes of a bulk operation that cost one instruction, as a power of two: the size of one `i64.store`. */
const BYTES_AN_INSTRUCTION = 3
const HEADER_BYTES = 8

const SECTION = { custom: 0, table: 4, global: 6, export: 7, start: 8, code: 10 }
/** Known sections in their order in a module, which differs from the order of numbers for two of them. */
const ORDER = [1, 2, 3, 4, 5, 13, SECTION.global, SECTION.export, SECTION.start, 9, 12, 10, 11]
const I32 = 0x7f
const I64 = 0x7e

/**
 * @typedef {import('./wasm-module.js').Declared} Declared
 * @typedef {{ bytes: Uint8Array, fuel: string }} Metered `fuel`: name of the exported global
 * @typedef {{
 *   fuel: number, functions: { imported: number, own: number }, memories: boolean[], tables: boolean[],
 *   signatureOf: Declared['signatureOf'],
 * }} Indexes `fuel`: index of the global; memories and tables: whether their indices have 64 bits
 */

/**
 * Rewrites a module that the engine has validated. Throws WasmError for unknown opcodes and sections.
 * @param {Uint8Array} bytes @param {Declared} declared @returns {Metered}
 */
export function meter(bytes, declared) {
  const sections = readSections(bytes)
  const indexes = indexesOf(sections, declared)
  const taken = new Set(declared.exports.map(({ name }) => name))
  const fuel = freeName('mayfly:instructions', taken)
  const exported = [[...named(fuel), 3, ...leb(indexes.fuel)]]
  const writer = new Writer(bytes.length * 2)
  writer.bytes(bytes.subarray(0, HEADER_BYTES))
  for (const id of ORDER) {
    const section = sections.get(id)
    if (id === SECTION.global) addEntries(writer, id, section, [[I64, 1, 0x42, 0, op.end]])
    else if (id === SECTION.export) addEntries(writer, id, section, exported)
    else if (id === SECTION.code && section) writer.section(id, meterCode(section, indexes))
    else if (section) writer.section(id, rest(section))
  }
  const names = sections.get(SECTION.custom)
  if (names) writer.section(SECTION.custom, rest(names))
  return { bytes: writer.written, fuel }
}

/** Known sections by number, and the custom section `name`. @param {Uint8Array} bytes */
function readSections(bytes) {
  const reader = new Reader(bytes, HEADER_BYTES)
  /** @type {Map<number, Reader>} */
  const sections = new Map()
  while (reader.at < bytes.length) {
    const at = reader.at
    const id = reader.byte()
    const size = reader.u32()
    const end = reader.at + size
    if (end > bytes.length) throw new WasmError('A section reaches past the end', at)
    const isKnown = id === SECTION.custom || ORDER.includes(id)
    if (!isKnown) throw new WasmError(`The section ${id} is not known`, at)
    const isKept = id !== SECTION.custom || new Reader(bytes, reader.at, end).name() === 'name'
    if (isKept) sections.set(id, new Reader(bytes, reader.at, end))
    reader.at = end
  }
  return sections
}

/** @param {Map<number, Reader>} sections @param {Declared} declared @returns {Indexes} */
function indexesOf(sections, { imports, memories, signatureOf }) {
  const imported = (/** @type {string} */ kind) => imports.filter((one) => one.kind === kind)
  const own = (/** @type {number} */ id) => copied(sections.get(id))?.u32() ?? 0
  return {
    fuel: imported('global').length + own(SECTION.global),
    functions: { imported: imported('function').length, own: own(3) },
    memories: [
      ...imported('memory').map(({ limits }) => limits?.is64 ?? false),
      ...memories.map(({ is64 }) => is64),
    ],
    tables: [
      ...imported('table').map(({ limits }) => limits?.is64 ?? false),
      ...tablesOf(copied(sections.get(SECTION.table))),
    ],
    signatureOf,
  }
}

/** @param {Reader | undefined} section @returns {boolean[]} */
function tablesOf(section) {
  /** @type {boolean[]} */
  const tables = []
  section?.list(() => {
    const hasInitial = section.bytes[section.at] === 0x40
    if (hasInitial) section.at += 2
    skipValueType(section)
    tables.push(readLimits(section).is64)
    if (hasInitial) skipExpression(section)
  })
  return tables
}

/** @param {Writer} writer @param {number} id @param {Reader | undefined} section @param {number[][]} entries */
function addEntries(writer, id, section, entries) {
  const count = section?.u32() ?? 0
  const content = new Writer(64)
  content.bytes(leb(count + entries.length))
  if (section) content.bytes(rest(section))
  for (const entry of entries) content.bytes(entry)
  writer.section(id, content.written)
}

/** @param {Reader} section @param {Indexes} indexes */
function meterCode(section, indexes) {
  const { imported, own } = indexes.functions
  const at = section.at
  const count = section.u32()
  if (count > FUNCTIONS_MAX || count !== own) throw new WasmError('A list is too long', at)
  const writer = new Writer((section.end - at) * 2)
  writer.bytes(leb(count))
  for (let place = 0; place < count; place++) {
    const size = section.u32()
    const body = new Reader(section.bytes, section.at, section.at + size)
    section.at += size
    const params = indexes.signatureOf(imported + place)?.params
    if (section.at > section.end || params === undefined)
      throw new WasmError('A function reaches past the end', body.at)
    const metered = new MeteredBody(body, indexes, params.length).written
    writer.bytes(leb(metered.length))
    writer.bytes(metered)
  }
  return writer.written
}

/** @typedef {{ opcode: number, isTarget: boolean }} Frame */

/** Body of one function, rewritten as it is read. */
class MeteredBody {
  #reader
  #indexes
  #code
  /** Groups of locals, and the first index after them. */
  #locals
  #hasScratch = false
  /** Control frames, the function's own first. @type {Frame[]} */
  #frames = [{ opcode: op.block, isTarget: false }]
  /** Begin and number of instructions of the current segment. */
  #from = 0
  #count = 0

  /** @param {Reader} reader @param {Indexes} indexes @param {number} params */
  constructor(reader, indexes, params) {
    this.#reader = reader
    this.#indexes = indexes
    this.#code = new Writer((reader.end - reader.at) * 2)
    this.#locals = readLocals(reader, params)
    this.#from = reader.at
    while (this.#frames.length > 0) this.#step()
    if (reader.at !== reader.end) throw new WasmError('A function ends too soon', reader.at)
    this.#cut()
  }

  get written() {
    const { groups, entries } = this.#locals
    const added = this.#hasScratch ? [1, I32, 1, I64] : []
    const head = [...leb(groups + (this.#hasScratch ? 2 : 0))]
    const writer = new Writer(this.#code.length + entries.length + 16)
    writer.bytes(head)
    writer.bytes(entries)
    writer.bytes(added)
    writer.bytes(this.#code.written)
    return writer.written
  }

  #step() {
    const at = this.#reader.at
    const { opcode, index, labels = [], places } = readInstruction(this.#reader)
    for (const depth of labels) this.#target(depth)
    const isGlobal = opcode === op.globalGet || opcode === op.globalSet
    if (isGlobal && (index ?? 0) >= this.#indexes.fuel)
      throw new WasmError('A global does not exist', at)
    if (!structural.has(opcode)) this.#count++
    const is64 = this.#lengthOf(opcode, places)
    if (is64 !== undefined) {
      this.#cut(at)
      this.#chargeLength(is64, perElement.has(opcode) ? 0 : BYTES_AN_INSTRUCTION)
    }
    this.#nest(opcode, at)
    if (this.#isBoundary(opcode, index)) this.#cut()
  }

  /** Marks the frame that a branch targets. @param {number} depth */
  #target(depth) {
    const frame = this.#frames.at(-1 - depth)
    if (frame === undefined) throw new WasmError('A branch has no target', this.#reader.at)
    frame.isTarget = true
  }

  /** A block's end is a boundary if a branch leads there. @param {number} opcode @param {number} at */
  #nest(opcode, at) {
    if (opens.has(opcode)) {
      if (this.#frames.length >= CONTROL_DEPTH_MAX)
        throw new WasmError('Blocks are nested too deep', at)
      this.#frames.push({ opcode, isTarget: false })
    }
    if (opcode !== op.end && opcode !== op.delegate) return
    const frame = this.#frames.pop()
    const isMerge = frame?.opcode === op.if || frame?.opcode === op.try
    if (isMerge || (frame?.isTarget && frame.opcode !== op.loop)) this.#cut()
  }

  /** @param {number} opcode @param {number | undefined} index */
  #isBoundary(opcode, index) {
    if (opcode === op.call) return (index ?? 0) < this.#indexes.functions.imported
    return boundaries.has(opcode)
  }

  /**
   * True if the length on the stack has 64 bits; undefined for an instruction without a length.
   * @param {number} opcode @param {readonly number[]} [places]
   */
  #lengthOf(opcode, places = []) {
    const { memories, tables } = this.#indexes
    if (!bulk.has(opcode)) return undefined
    if (opcode === op.memoryFill || opcode === op.memoryCopy)
      return places.every((place) => memories[place] === true)
    if (opcode === op.tableFill || opcode === op.tableCopy)
      return places.every((place) => tables[place] === true)
    return false
  }

  /** Ends the segment, and writes its charge before it. */
  #cut(to = this.#reader.at) {
    const { fuel } = this.#indexes
    if (this.#count > 0) this.#charge([0x23, ...leb(fuel), 0x42, ...signedLeb(this.#count), 0x7d])
    this.#code.bytes(this.#reader.bytes.subarray(this.#from, to))
    this.#from = to
    this.#count = 0
  }

  /** Charges the length on top of the stack. @param {boolean} is64 @param {number} shift */
  #chargeLength(is64, shift) {
    this.#hasScratch = true
    const scratch = leb(this.#locals.next + (is64 ? 1 : 0))
    this.#code.bytes([0x22, ...scratch])
    const widen = is64 ? [] : [0xad]
    // Subtracting a length with bit 63, a negative number, would add fuel.
    if (is64 && shift === 0) this.#exhaustIf([0x20, ...scratch, 0x42, 0, 0x53])
    const length = [0x20, ...scratch, ...widen, 0x42, shift, 0x88]
    this.#charge([0x23, ...leb(this.#indexes.fuel), ...length, 0x7d])
  }

  /** Traps without fuel. @param {number[]} condition code that computes it */
  #exhaustIf(condition) {
    const none = [0x42, 0x7f, 0x24, ...leb(this.#indexes.fuel)]
    this.#code.bytes([...condition, op.if, 0x40, ...none, op.unreachable, op.end])
  }

  /** Stores the fuel that is left, and traps below 0. @param {number[]} left code that computes it */
  #charge(left) {
    const fuel = leb(this.#indexes.fuel)
    const store = [...left, 0x24, ...fuel, 0x23, ...fuel]
    this.#code.bytes([...store, 0x42, 0, 0x53, op.if, 0x40, op.unreachable, op.end])
  }
}

/** @param {Reader} reader @param {number} params */
function readLocals(reader, params) {
  let next = params
  let groups = 0
  const head = reader.at
  const first = copied(reader)
  first?.u32()
  reader.list(() => {
    groups++
    next += reader.u32()
    skipValueType(reader)
  })
  return { groups, next, entries: reader.bytes.subarray(first?.at ?? head, reader.at) }
}

const opens = new Set([op.block, op.loop, op.if, op.try, op.tryTable].map(Number))
/** Instructions after which a segment ends: control may leave or enter there. */
const boundaries = new Set(
  [
    op.unreachable,
    op.loop,
    op.if,
    op.else,
    op.catch,
    op.catchAll,
    op.throw,
    op.rethrow,
    op.throwRef,
    op.br,
    op.brIf,
    op.brTable,
    op.return,
    op.returnCall,
    op.returnCallIndirect,
    op.returnCallRef,
    op.brOnNull,
    op.brOnNonNull,
    op.brOnCast,
    op.brOnCastFail,
  ].map(Number),
)
const structural = new Set(
  [op.block, op.loop, op.else, op.end, op.try, op.catch, op.catchAll, op.delegate, op.tryTable].map(
    Number,
  ),
)
const perElement = new Set(
  [
    op.tableInit,
    op.tableCopy,
    op.tableFill,
    op.arrayNew,
    op.arrayNewDefault,
    op.arrayNewData,
    op.arrayNewElem,
    op.arrayFill,
    op.arrayCopy,
    op.arrayInitData,
    op.arrayInitElem,
  ].map(Number),
)
const bulk = new Set([...perElement, op.memoryInit, op.memoryCopy, op.memoryFill])

/** @param {Reader | undefined} reader */
function copied(reader) {
  return reader && new Reader(reader.bytes, reader.at, reader.end)
}

/** @param {Reader} section */
function rest({ bytes, at, end }) {
  return bytes.subarray(at, end)
}

/** A whole number from 0 on, as a signed LEB128 integer. @param {number} value */
function signedLeb(value) {
  const bytes = leb(value)
  const last = /** @type {number} */ (bytes.at(-1))
  return last < 0x40 ? bytes : [...bytes.slice(0, -1), last | 0x80, 0]
}

/** Bytes in a buffer that grows, up to a bound. */
class Writer {
  length = 0
  #buffer

  /** @param {number} room */
  constructor(room) {
    this.#buffer = Buffer.allocUnsafe(Math.min(METERED_BYTES_MAX, room + 64))
  }

  /** @param {ArrayLike<number>} bytes */
  bytes(bytes) {
    const next = this.length + bytes.length
    if (next > METERED_BYTES_MAX) throw new WasmError('The module is too large after metering', 0)
    if (next > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.min(METERED_BYTES_MAX, next * 2))
      larger.set(this.written)
      this.#buffer = larger
    }
    this.#buffer.set(bytes, this.length)
    this.length = next
  }

  /** @param {number} id @param {Uint8Array} content */
  section(id, content) {
    this.bytes([id, ...leb(content.length)])
    this.bytes(content)
  }

  get written() {
    return this.#buffer.subarray(0, this.length)
  }
}
