import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readModule, WasmError, withMemoryMaximum } from '../../src/lib/wasm-module.js'
import { wasm } from '../fixtures/wasm.ts'
import { fuzz, mutated } from './seeded.ts'

/** The engine, for which there are no types without those of a browser. */
const engine = Reflect.get(globalThis, 'WebAssembly') as {
  validate(bytes: Uint8Array): boolean
  readonly Module: {
    new (bytes: Uint8Array): object
    exports(module: object): { readonly name: string; readonly kind: string }[]
  }
}

const samples = [
  wasm({
    imports: [
      { module: 'env', name: 'f', params: ['i32', 'i64'], results: ['f64'] },
      { module: 'env', name: 'memory', memory: { min: 1, max: 300 } },
      { module: 'env', name: 'g', global: 'i32' },
    ],
    functions: [{ export: '_start', body: [] }],
  }),
  wasm({ memory: { min: 1 }, functions: [{ export: 'run', params: ['f32'], body: [0x01] }] }),
].map((bytes) => Buffer.from(bytes))

test('A damaged module is read or refused with WasmError, and a module that the engine accepts is never refused', (t) => {
  fuzz(t, {
    cases: 50_000,
    long: 1_000_000,
    attempt(random) {
      const bytes = mutated(random, samples, ['\u0001\u0060', '\u007f', '_start'])
      const declared = reading(bytes)
      if (declared) withMemoryMaximum(bytes, declared, 16)
      const isModule = engine.validate(bytes)
      assert.ok(declared || !isModule, `refused ${bytes.toString('hex')}`)
      if (!declared || !isModule) return
      const exports = engine.Module.exports(new engine.Module(bytes))
      assert.deepEqual(
        declared.exports.map(({ name, kind }) => [name, kind]),
        exports.map(({ name, kind }) => [name, kind]),
      )
    },
  })
})

function reading(bytes: Buffer): ReturnType<typeof readModule> | undefined {
  try {
    return readModule(bytes)
  } catch (thrown) {
    assert.ok(thrown instanceof WasmError, String(thrown))
    assert.ok(thrown.offset >= 0 && thrown.offset <= bytes.length)
    return undefined
  }
}
