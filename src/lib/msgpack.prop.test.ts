import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { jsonOfMsgpack, MsgpackError, msgpackOf } from './msgpack.ts'
import { readStrictJson } from './strict-json.ts'
import { parseJson } from './parse-json.ts'

const options = { depthMax: 64, charsMax: 2 ** 20 }
const isLong = process.env['MAYFLY_LONG'] !== undefined

test('A value encoded as MessagePack decodes to the same JSON', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const json = jsonOfMsgpack(msgpackOf(value), options)
      // JSON has one zero.
      assert.equal(JSON.stringify(parseJson(json)), JSON.stringify(value))
    }),
    { numRuns: 500 },
  )
})

test('Any bytes are a value or a MsgpackError, and touch no prototype (S0-23)', () => {
  const keys = () => Reflect.ownKeys(Object.prototype).map(String).join()
  const before = keys()
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      let json: string
      try {
        json = jsonOfMsgpack(bytes, options)
      } catch (thrown) {
        assert(thrown instanceof MsgpackError)
        assert(thrown.offset >= 0 && thrown.offset <= bytes.length)
        return
      }
      parseJson(json)
    }),
    { numRuns: isLong ? 1_000_000 : 5000 },
  )
  assert.equal(keys(), before)
})

test('A key __proto__ stays a key, and a duplicate key is left for the JSON reader to refuse', () => {
  const map = (...keys: readonly string[]) =>
    Buffer.concat([
      Buffer.from([0x80 | keys.length]),
      ...keys.flatMap((key) => [msgpackOf(key), msgpackOf(1)]),
    ])
  const json = jsonOfMsgpack(map('__proto__'), options)
  const { value } = readStrictJson(Buffer.from(json), { depthMax: 64 })
  assert.deepEqual(Object.keys(value as object), ['__proto__'])
  assert.equal(Object.getPrototypeOf(value), Object.prototype)
  const twice = Buffer.from(jsonOfMsgpack(map('a', 'a'), options))
  assert.throws(() => readStrictJson(twice, { depthMax: 64 }))
})

test('Depth, size and count are bounded before anything is allocated', () => {
  const deep = Buffer.concat([Buffer.alloc(65, 0x91), Buffer.from([0xc0])])
  assert.throws(() => jsonOfMsgpack(deep, options), /deep/)
  assert.equal(jsonOfMsgpack(deep.subarray(1), options).length, 64 * 2 + 4)
  const claims = [
    [0xdd, 0xff, 0xff, 0xff, 0xff],
    [0xdf, 0xff, 0xff, 0xff, 0xff],
    [0xdb, 0xff, 0xff, 0xff, 0xff],
    [0xc6, 0xff, 0xff, 0xff, 0xff],
  ]
  for (const claim of claims)
    assert.throws(() => jsonOfMsgpack(Buffer.from(claim), options), /cut off/)
  const many = Buffer.concat([
    Buffer.from([0xdd, 0, 0x4c, 0x4b, 0x40]),
    Buffer.alloc(5_000_000, 0xc0),
  ])
  assert.throws(() => jsonOfMsgpack(many, { depthMax: 64, charsMax: 2 ** 30 }), /values/)
  assert.throws(
    () => jsonOfMsgpack(msgpackOf('x'.repeat(100)), { ...options, charsMax: 50 }),
    /large/,
  )
})

test('Numbers keep their digits, bytes become base64, and values without a JSON form are refused', () => {
  const long = Buffer.from([0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
  assert.equal(jsonOfMsgpack(long, options), '18446744073709551615')
  assert.equal(jsonOfMsgpack(Buffer.from([0xc4, 2, 1, 2]), options), '"AQI="')
  const nan = Buffer.alloc(9, 0xcb)
  nan.writeDoubleBE(NaN, 1)
  for (const bytes of [
    nan,
    Buffer.from([0xd4, 1, 1]),
    Buffer.from([0x81, 1, 1]),
    Buffer.from([0xc1]),
  ])
    assert.throws(() => jsonOfMsgpack(bytes, options), MsgpackError)
})
