import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readInstruction } from './wasm-instructions.js'
import { meter } from './wasm-meter.js'
import { Reader, readModule, WasmError } from './wasm-module.js'

/** Missing in the types of Node alone. */
const { validate, Instance, Module } = (globalThis as any).WebAssembly

const u = (value: number): readonly number[] =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...u(value >>> 7)]
const section = (id: number, content: readonly number[]) => [id, ...u(content.length), ...content]
const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]

/** Type 0 of each surrounding: a function, a structure of one field, an array of bytes, one of references. */
const firstTypes = [
  [0x60, 0, 0],
  [0x5f, 1, 0x7f, 1],
  [0x5f, 1, 0x78, 1],
  [0x5e, 0x78, 1],
  [0x5e, 0x70, 1],
]

/** A module with one of everything, around the body of its one function. */
function around(firstType: readonly number[], body: readonly number[]): Uint8Array {
  const code = [1, 1, 0x7f, ...body, 0x0b]
  return Uint8Array.from([
    ...header,
    ...section(1, [2, ...firstType, 0x60, 0, 0]),
    ...section(3, [1, 1]),
    ...section(4, [1, 0x70, 0, 1]),
    ...section(5, [1, 0, 1]),
    ...section(13, [1, 0, 1]),
    ...section(6, [1, 0x7f, 1, 0x41, 0, 0x0b]),
    ...section(7, [1, 3, 0x72, 0x75, 0x6e, 0, 0]),
    ...section(9, [2, 0, 0x41, 0, 0x0b, 1, 0, 1, 0, 1, 0]),
    ...section(12, [1]),
    ...section(10, [1, ...u(code.length), ...code]),
    ...section(11, [1, 1, 1, 0]),
  ])
}

const zeros = (count: number) => Array.from({ length: count }, () => 0)
const unreachable = 0x00
/** The longest has 16 bytes, and lane instructions 3 beyond. */
const immediatesMax = 20

/**
 * A constant vector of the opcode of `end`: an instruction before it that swallows any of it, but not all, makes
 * the function invalid.
 */
const guard = [0xfd, 0x0c, ...Array.from({ length: 16 }, () => 0x0b), unreachable]

/** Bytes of immediates that the engine wants, all of them 0; undefined where it validates none. */
function immediatesOf(opcode: readonly number[]) {
  for (let count = 0; count <= immediatesMax; count++) {
    const body = [unreachable, ...opcode, ...zeros(count), ...guard]
    for (const firstType of firstTypes) {
      const module = around(firstType, body)
      if (validate(module)) return { count, module }
    }
  }
  return undefined
}

const structured = new Set([0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0b, 0x18, 0x19, 0x1f])

function* opcodes(): Generator<readonly number[]> {
  for (let byte = 0; byte < 0x100; byte++)
    if (!structured.has(byte) && (byte < 0xfb || byte > 0xfe)) yield [byte]
  for (const prefix of [0xfb, 0xfc, 0xfd, 0xfe])
    for (let number = 0; number < 0x140; number++) yield [prefix, ...u(number)]
}

test('Each instruction that the engine validates is read with its own length', () => {
  let known = 0
  const unread: string[] = []
  for (const opcode of opcodes()) {
    const found = immediatesOf(opcode)
    if (!found) continue
    known++
    const name = opcode.map((byte) => byte.toString(16)).join(' ')
    const bytes = Uint8Array.from([...opcode, ...zeros(immediatesMax)])
    const reader = new Reader(bytes)
    try {
      readInstruction(reader)
    } catch (error) {
      assert.ok(error instanceof WasmError, String(error))
      unread.push(name)
      continue
    }
    assert.equal(reader.at, opcode.length + found.count, name)
    const metered = meter(found.module, readModule(found.module))
    assert.ok(validate(metered.bytes), `${name}: its metered module is valid`)
  }
  assert.ok(known > 500, `${known} instructions`)
  assert.deepEqual(unread, [])
})

/** Bodies of `run` with their count; a handler's marks and ends of blocks count nothing. */
const counted: Readonly<Record<string, readonly [body: readonly number[], count: number]>> = {
  'br_on_null, taken': [[0x02, 0x40, 0xd0, 0x70, 0xd5, 0, 0x1a, 0x0b], 2],
  'br_on_non_null, taken': [[0x02, 0x64, 0x70, 0xd2, 0, 0xd6, 0, 0, 0x0b, 0x1a], 3],
  'br_on_cast, taken': [
    [0x02, 0x64, 0x6c, 0x41, 1, 0xfb, 0x1c, 0xfb, 0x18, 0, 0, 0x6e, 0x6c, 0, 0x0b, 0x1a],
    4,
  ],
  'if without else, not taken': [[0x41, 0, 0x04, 0x40, 0x01, 0x01, 0x0b, 0x01], 3],
  'a loop that is left': [[0x03, 0x40, 0x01, 0x0b, 0x01], 2],
  'code behind a branch': [[0x02, 0x40, 0x0c, 0, 0x01, 0x01, 0x0b, 0x01], 2],
  'a return, and code behind it': [[0x01, 0x0f, 0x01, 0x01], 2],
  'try and catch': [[0x06, 0x40, 0x08, 0, 0x07, 0, 0x01, 0x0b], 2],
  'try without a throw': [[0x06, 0x40, 0x01, 0x07, 0, 0x01, 0x0b, 0x01], 2],
  delegate: [[0x06, 0x40, 0x06, 0x40, 0x08, 0, 0x18, 0, 0x07, 0, 0x01, 0x0b], 2],
  rethrow: [[0x06, 0x40, 0x06, 0x40, 0x08, 0, 0x19, 0x09, 0, 0x0b, 0x19, 0x01, 0x0b], 3],
  'try_table with a tag': [[0x02, 0x40, 0x1f, 0x40, 1, 0, 0, 0, 0x08, 0, 0x0b, 0x0b, 0x01], 2],
  'try_table with a reference': [
    [0x02, 0x69, 0x1f, 0x40, 1, 3, 0, 0x08, 0, 0x0b, 0x00, 0x0b, 0x1a],
    2,
  ],
  throw_ref: [
    [
      0x02, 0x40, 0x1f, 0x40, 1, 2, 0, 0x02, 0x69, 0x1f, 0x40, 1, 3, 0, 0x08, 0, 0x0b, 0x00, 0x0b,
      0x0a, 0x0b, 0x0b, 0x01,
    ],
    3,
  ],
}

for (const [name, [body, count]] of Object.entries(counted))
  test(`Instructions that run are counted: ${name}`, () => {
    const module = around(firstTypes[0]!, body)
    const { bytes, fuel } = meter(module, readModule(module))
    const { exports } = new Instance(new Module(bytes))
    exports[fuel].value = 100n
    exports.run()
    assert.equal(100n - exports[fuel].value, BigInt(count))
  })
