/**
 * Reader of single WebAssembly instructions, of those that V8 14 validates without a flag: the core, bulk memory, SIMD,
 * atomics, tail calls, exceptions (both encodings), references and garbage collection. It returns the opcode and the
 * immediates that a rewrite of control flow needs; the rest is skipped. Relies on a module that the engine has
 * validated; an unlisted opcode is refused, because its length is unknown.
 */
import { WasmError } from './wasm-module.js'

/** @typedef {import('./wasm-module.js').Reader} Reader */
/**
 * @typedef {{ opcode: number, index?: number, labels?: readonly number[], places?: readonly number[] }} Instruction
 *   `opcode`: a prefixed one is `prefix * 0x10000 + number`; `index`: of the called function or the global;
 *   `labels`: its branch targets; `places`: indices of the memories or tables of a bulk instruction
 */

/** Entries of one `br_table` or `try_table`; V8 has the same bound (kV8MaxWasmFunctionBrTableSize, 65,520). */
const LABELS_MAX = 65_520

export const op = /** @type {const} */ ({
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  try: 0x06,
  catch: 0x07,
  throw: 0x08,
  rethrow: 0x09,
  throwRef: 0x0a,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  callRef: 0x14,
  returnCallRef: 0x15,
  delegate: 0x18,
  catchAll: 0x19,
  tryTable: 0x1f,
  globalGet: 0x23,
  globalSet: 0x24,
  brOnNull: 0xd5,
  brOnNonNull: 0xd6,
  arrayNew: 0xfb_0006,
  arrayNewDefault: 0xfb_0007,
  arrayNewData: 0xfb_0009,
  arrayNewElem: 0xfb_000a,
  arrayFill: 0xfb_0010,
  arrayCopy: 0xfb_0011,
  arrayInitData: 0xfb_0012,
  arrayInitElem: 0xfb_0013,
  brOnCast: 0xfb_0018,
  brOnCastFail: 0xfb_0019,
  memoryInit: 0xfc_0008,
  memoryCopy: 0xfc_000a,
  memoryFill: 0xfc_000b,
  tableInit: 0xfc_000c,
  tableCopy: 0xfc_000e,
  tableFill: 0xfc_0011,
})

/**
 * Reads one instruction. Throws WasmError for an opcode that is not known here.
 * @param {Reader} reader
 * @returns {Instruction}
 */
export function readInstruction(reader) {
  const at = reader.at
  const first = reader.byte()
  const opcode = first >= 0xfb && first <= 0xfe ? first * 0x10000 + reader.u32() : first
  const read = readers.get(opcode)
  if (read === undefined) {
    const name = `0x${first.toString(16)}${opcode === first ? '' : ` ${opcode % 0x10000}`}`
    throw new WasmError(`The instruction ${name} is not known`, at)
  }
  return { opcode, ...read(reader) }
}

/** Skips a constant expression and its `end`. @param {Reader} reader */
export function skipExpression(reader) {
  while (readInstruction(reader).opcode !== op.end);
}

/** Skips a value type. @param {Reader} reader */
export function skipValueType(reader) {
  const byte = reader.byte()
  if (byte === 0x63 || byte === 0x64) reader.varint()
}

/** @typedef {(reader: Reader) => Omit<Instruction, 'opcode'> | void} Immediates */

/** @type {Immediates} */
const none = () => undefined
/** A number of any kind; also a heap type. @type {Immediates} */
const one = (reader) => void reader.varint()
/** @type {Immediates} */
const two = (reader) => void [reader.varint(), reader.varint()]
/** @type {Immediates} */
const index = (reader) => ({ index: reader.u32() })
/** @type {Immediates} */
const label = (reader) => ({ labels: [reader.u32()] })
/** @param {number} count @returns {Immediates} */
const raw = (count) => (reader) => {
  for (let left = count; left > 0; left--) reader.byte()
}

/** `void`, a value type, or the index of a type. @type {Immediates} */
const blockType = (reader) => {
  const byte = reader.byte()
  if (byte === 0x63 || byte === 0x64) reader.varint()
  else if (byte >= 0x80) reader.varint()
}

/** Bit 6 of the alignment announces the index of a memory. @type {Immediates} */
const memoryArgument = (reader) => {
  const at = reader.at
  const flags = reader.u32()
  if (flags >= 0x80 || flags & 0x20) throw new WasmError('An alignment has unknown flags', at)
  if (flags & 0x40) reader.u32()
  reader.varint()
}

/** @type {Immediates} */
const branchTable = (reader) => {
  const labels = readLabels(reader, () => reader.u32())
  return { labels: [...labels, reader.u32()] }
}

/** `catch` and `catch_ref` (0, 1) name a tag. @type {Immediates} */
const tryTable = (reader) => {
  blockType(reader)
  const labels = readLabels(reader, () => {
    if (reader.byte() < 2) reader.u32()
    return reader.u32()
  })
  return { labels }
}

/** @param {Reader} reader @param {() => number} readOne */
function readLabels(reader, readOne) {
  const at = reader.at
  const count = reader.u32()
  if (count > LABELS_MAX) throw new WasmError('A list of branch targets is too long', at)
  return Array.from({ length: count }, readOne)
}

/** @type {Immediates} */
const selectTypes = (reader) => reader.list(() => skipValueType(reader))

/** @type {Immediates} */
const castBranch = (reader) => {
  reader.byte()
  const labels = [reader.u32()]
  two(reader)
  return { labels }
}

/** @type {Immediates} */
const place = (reader) => ({ places: [reader.u32()] })
/** @type {Immediates} */
const twoPlaces = (reader) => ({ places: [reader.u32(), reader.u32()] })
/** A segment, which has no place, and the place it is copied to. @type {Immediates} */
const segmentAndPlace = (reader) => ({ places: [(reader.u32(), reader.u32())] })
/** @type {Immediates} */
const laneOfMemory = (reader) => void [memoryArgument(reader), reader.byte()]

/** @type {Readonly<Record<number, Immediates>>} */
const single = {
  [op.block]: blockType,
  [op.loop]: blockType,
  [op.if]: blockType,
  [op.try]: blockType,
  [op.tryTable]: tryTable,
  [op.catch]: one,
  [op.throw]: one,
  [op.rethrow]: one,
  // The target is a handler, not a place where control continues.
  [op.delegate]: one,
  [op.br]: label,
  [op.brIf]: label,
  [op.brTable]: branchTable,
  [op.brOnNull]: label,
  [op.brOnNonNull]: label,
  [op.brOnCast]: castBranch,
  [op.brOnCastFail]: castBranch,
  [op.call]: index,
  [op.returnCall]: index,
  [op.callIndirect]: two,
  [op.returnCallIndirect]: two,
  [op.callRef]: one,
  [op.returnCallRef]: one,
  [op.globalGet]: index,
  [op.globalSet]: index,
  0x1c: selectTypes,
  0x43: raw(4),
  0x44: raw(8),
  0xd0: one,
  0xd2: one,
  [op.arrayCopy]: two,
  0xfb_0008: two,
  0xfb_000f: none,
  [op.memoryInit]: segmentAndPlace,
  0xfc_0009: one,
  [op.memoryCopy]: twoPlaces,
  [op.memoryFill]: place,
  [op.tableInit]: segmentAndPlace,
  0xfc_000d: one,
  [op.tableCopy]: twoPlaces,
  0xfc_000f: one,
  0xfc_0010: one,
  [op.tableFill]: place,
  0xfd_000c: raw(16),
  0xfd_000d: raw(16),
  0xfd_005c: memoryArgument,
  0xfd_005d: memoryArgument,
  0xfe_0003: raw(1),
}

/** First and last opcode of neighbours with the same immediates. @type {readonly [number, number, Immediates][]} */
const ranges = [
  [0x00, 0x01, none],
  [op.else, op.else, none],
  [op.throwRef, op.end, none],
  [op.return, op.return, none],
  [op.catchAll, 0x1b, none],
  [0x20, 0x22, one],
  [0x25, 0x26, one],
  [0x28, 0x3e, memoryArgument],
  [0x3f, 0x42, one],
  [0x45, 0xc4, none],
  [0xd1, 0xd1, none],
  [0xd3, 0xd4, none],
  [0xfb_0000, 0xfb_0001, one],
  [0xfb_0002, 0xfb_0005, two],
  [op.arrayNew, op.arrayNewDefault, one],
  [op.arrayNewData, op.arrayNewElem, two],
  [0xfb_000b, 0xfb_000e, one],
  [op.arrayFill, op.arrayFill, one],
  [op.arrayInitData, op.arrayInitElem, two],
  [0xfb_0014, 0xfb_0017, one],
  [0xfb_001a, 0xfb_001e, none],
  [0xfc_0000, 0xfc_0007, none],
  [0xfc_0013, 0xfc_0016, none],
  [0xfd_0000, 0xfd_000b, memoryArgument],
  [0xfd_000e, 0xfd_0014, none],
  [0xfd_0015, 0xfd_0022, raw(1)],
  [0xfd_0023, 0xfd_0053, none],
  [0xfd_0054, 0xfd_005b, laneOfMemory],
  [0xfd_005e, 0xfd_0113, none],
  [0xfe_0000, 0xfe_0002, memoryArgument],
  [0xfe_0010, 0xfe_004e, memoryArgument],
]

/** @type {Map<number, Immediates>} */
const readers = new Map(Object.entries(single).map(([opcode, read]) => [Number(opcode), read]))
for (const [from, to, read] of ranges)
  for (let opcode = from; opcode <= to; opcode++) readers.set(opcode, read)
