import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { MayflyError } from '../../contract/error.ts'
import { decodeMessage, encodeMessage, type Packing } from './codec.ts'

const key = fc.oneof(fc.string(), fc.constantFrom('$', '__proto__', 'constructor'))
const { anything } = fc.letrec<{ anything: unknown }>((tie) => ({
  anything: fc.oneof(
    { maxDepth: 5 },
    fc.oneof(
      fc.string(),
      fc.boolean(),
      fc.constantFrom(null, undefined),
      fc.double(),
      fc.bigInt(),
      fc.date({ noInvalidDate: false }),
      fc.uint8Array(),
    ),
    fc.array(tie('anything'), { maxLength: 4 }),
    fc
      .array(fc.tuple(key, tie('anything')), { maxLength: 4 })
      .map((pairs) => Object.fromEntries(pairs)),
    fc
      .array(fc.tuple(tie('anything'), tie('anything')), { maxLength: 3 })
      .map((pairs) => new Map(pairs)),
    fc.array(tie('anything'), { maxLength: 3 }).map((items) => new Set(items)),
  ),
}))

const crossed = (value: unknown, packing: Packing = {}) =>
  decodeMessage(encodeMessage([value], packing), {}) as readonly unknown[]

test('Data is transferred unchanged, except undefined members', () => {
  fc.assert(
    fc.property(anything, (value) => {
      assert.deepEqual(crossed(value)[0], withoutUndefined(value))
    }),
  )
})

test('An invalid date stays one, also within others', () => {
  const invalid = new Date(NaN)
  const values = [invalid, [invalid], new Set([invalid]), new Map([[invalid, invalid]])]
  for (const value of values) assert.deepEqual(crossed(value)[0], value)
})

test('A value that is sent as JSON text arrives like after JSON.parse', () => {
  const isJson = (path: string) => path === '0'
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const [got] = crossed(value, { isJson })
      assert.deepEqual(got, JSON.parse(JSON.stringify(value)))
    }),
  )
})

test('Bytes, errors and signals that are sent as JSON text arrive like after JSON.parse', () => {
  const isJson = (path: string) => path === '0'
  for (const value of [
    Buffer.from('a'),
    Object.assign(new Error('a'), { n: 1 }),
    AbortSignal.abort(),
  ])
    assert.deepEqual(crossed(value, { isJson })[0], JSON.parse(JSON.stringify(value)))
})

test('Bytes come across as bytes of their own, also where they were a view of others', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.nat(8), (bytes, from) => {
      const [got] = crossed({ bytes: bytes.subarray(from) }) as [{ bytes: Uint8Array }]
      assert.deepEqual([...got.bytes], [...bytes.subarray(from)])
    }),
  )
})

test('Data of three thousand levels is transferred', () => {
  let deep: unknown = 1
  for (let n = 0; n < 3_000; n++) deep = [deep]
  let [inner] = crossed(deep)
  for (let n = 0; n < 3_000; n++) [inner] = inner as unknown[]
  assert.equal(inner, 1)
})

test('A cycle and a BigInt where JSON is asked for are INVALID, as on the road', () => {
  const cycle: { self?: unknown } = {}
  cycle.self = cycle
  for (const value of [cycle, { n: 1n }])
    assert.throws(
      () => encodeMessage([value], { isJson: (path) => path === '0' }),
      (thrown) => thrown instanceof MayflyError && thrown.code === 'INVALID',
    )
})

/** As a member without a value is to whoever reads it: not there. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return Array.from(value, withoutUndefined)
  if (value instanceof Map)
    return new Map([...value].map(([key, one]) => [withoutUndefined(key), withoutUndefined(one)]))
  if (value instanceof Set) return new Set([...value].map(withoutUndefined))
  const isLeaf = value instanceof Date || value instanceof Uint8Array
  if (typeof value !== 'object' || value === null || isLeaf) return value
  const entries = Object.entries(value).filter(([, one]) => one !== undefined)
  return Object.fromEntries(entries.map(([key, one]) => [key, withoutUndefined(one)]))
}
