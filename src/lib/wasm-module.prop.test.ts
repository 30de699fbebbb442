import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sampledRuns } from '../../tests/fixtures/drawn.ts'
import { wasm, type Memory } from '../../tests/fixtures/wasm.ts'
import { readModule, WasmError, withMemoryMaximum } from './wasm-module.js'

const numRuns = process.env['MAYFLY_LONG'] ? 1_000_000 : sampledRuns(2_000, import.meta.filename)

const sample = wasm({
  imports: [
    { module: 'env', name: 'f', params: ['i32', 'i64'], results: ['f64'] },
    { module: 'env', name: 'memory', memory: { min: 1, max: 300 } },
    { module: 'env', name: 'g', global: 'i32' },
  ],
  functions: [
    { export: '_start', body: [] },
    { export: 'run', params: ['f32'], results: ['i64', 'i32'], body: [0x00] },
  ],
})

test("A module's declarations are read from its bytes", () => {
  const { imports, exports, signatureOf } = readModule(sample)
  assert.deepEqual(
    imports.map(({ module, name, kind }) => `${kind} ${module}.${name}`),
    ['function env.f', 'memory env.memory', 'global env.g'],
  )
  assert.deepEqual(imports[1]?.limits, {
    flags: 1,
    initial: 1,
    maximum: 300,
    isShared: false,
    is64: false,
  })
  assert.deepEqual(
    exports.map(({ name, kind }) => `${kind} ${name}`),
    ['function _start', 'function run'],
  )
  assert.deepEqual(signatureOf(exports[1]!.index), { params: ['f32'], results: ['i64', 'i32'] })
})

test('Any bytes are read, or refused at an offset within them', () => {
  const header = sample.subarray(0, 8)
  const anyBytes = fc.uint8Array({ maxLength: 200 })
  const afterHeader = anyBytes.map((bytes) => Buffer.concat([header, bytes]))
  const changed = fc
    .tuple(fc.nat(sample.length - 1), fc.nat(255), fc.nat(sample.length))
    .map(([at, byte, length]) => {
      const copy = Buffer.from(sample)
      copy[at] = byte
      return copy.subarray(0, length)
    })
  fc.assert(
    fc.property(fc.oneof(anyBytes, afterHeader, changed), (bytes) => {
      try {
        readModule(bytes)
      } catch (error) {
        assert.ok(error instanceof WasmError, String(error))
        assert.ok(error.offset >= 0 && error.offset <= bytes.length, `${error.offset}`)
      }
    }),
    { numRuns },
  )
})

test('A memory section that the engine refuses is refused, although it is written anew', () => {
  const memorySection = (...content: number[]) =>
    Buffer.from([...sample.subarray(0, 8), 5, content.length, ...content])
  assert.equal(readModule(memorySection(1, 1, 1, 0x80, 0x80, 4)).memories[0]?.maximum, 65_536)
  for (const [what, content] of [
    ['a maximum of 65,537 pages', [1, 1, 1, 0x81, 0x80, 4]],
    ['an initial size of 65,537 pages', [1, 0, 0x81, 0x80, 4]],
    ['a number of six bytes', [1, 0, 0x81, 0x80, 0x80, 0x80, 0x80, 0]],
    ['a byte behind its list', [1, 0, 1, 0]],
  ] as const)
    assert.throws(() => readModule(memorySection(...content)), WasmError, what)
})

test('Capping a memory keeps the smaller maximum, and leaves the rest unchanged', () => {
  const pages = fc.nat(65_536)
  const memory = fc
    .record({ min: fc.nat(100), max: fc.option(pages, { nil: undefined }), cap: pages })
    .filter(({ min, max = 65_536, cap }) => min <= Math.min(max, cap))
  fc.assert(
    fc.property(memory, ({ min, max, cap }) => {
      const asked: Memory = { min, ...(max !== undefined && { max }) }
      const bytes = wasm({ memory: asked, functions: [{ export: 'run', body: [0x01] }] })
      const before = readModule(bytes)
      const after = readModule(withMemoryMaximum(bytes, before, cap - min))
      assert.deepEqual(
        after.memories.map(({ initial, maximum }) => [initial, maximum]),
        [[min, Math.min(max ?? Infinity, cap)]],
      )
      assert.deepEqual(after.exports, before.exports)
    }),
    { numRuns: Math.min(numRuns, 1000) },
  )
})
