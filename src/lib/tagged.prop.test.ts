import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { decodeTagged, encodeTagged, TaggedError } from './tagged.ts'
import { parseJson } from './parse-json.ts'

const key = fc.oneof(fc.string(), fc.constantFrom('$type', '__proto__', 'value', 'constructor'))
const { data } = fc.letrec<{ data: unknown }>((tie) => ({
  data: fc.oneof(
    { maxDepth: 5 },
    fc.oneof(
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.constant(undefined),
      fc.double(),
      fc.bigInt(),
      fc.date({ noInvalidDate: false }),
      fc.uint8Array(),
    ),
    fc.array(tie('data'), { maxLength: 4 }),
    fc
      .array(fc.tuple(key, tie('data')), { maxLength: 4 })
      .map((pairs) => Object.fromEntries(pairs)),
    fc.array(fc.tuple(tie('data'), tie('data')), { maxLength: 3 }).map((pairs) => new Map(pairs)),
    fc.array(tie('data'), { maxLength: 3 }).map((items) => new Set(items)),
  ),
}))

/** Each kind once, since random values may not have it. */
const each = [
  new Date(0),
  new Map([[1, 2n]]),
  new Set([-1n]),
  new Uint8Array(2),
  NaN,
  -0,
  undefined,
]
const examples: [unknown][] = [[each], [new Map([[each, new Set(each)]])], [{ $type: each }]]

test('Encoding round-trips dates, maps, sets, big numbers, bytes, NaN, -0 and undefined (S0-16)', () => {
  fc.assert(
    fc.property(data, (value) => {
      const { text, encoding } = encodeTagged(value)
      const parsed: unknown = parseJson(text)
      assert.deepEqual(encoding === 'tagged' ? decodeTagged(parsed) : parsed, value)
    }),
    { numRuns: 500 + examples.length, examples },
  )
})

test('Plain data is plain JSON, in which the key $type has no meaning', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const { text, encoding } = encodeTagged({
        $type: 'Date',
        value: parseJson(JSON.stringify(value)),
      })
      if (encoding === 'json') assert.match(text, /^\{"\$type":"Date"/)
      else assert.match(text, /__proto__/)
    }),
  )
})

test('Any JSON is either decoded or refused with TaggedError', () => {
  const forged = fc.letrec<{ any: unknown }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.jsonValue(),
      fc.record({
        $type: fc.constantFrom(
          'Date',
          'Map',
          'Set',
          'BigInt',
          'bytes',
          'number',
          'undefined',
          'object',
          'Error',
          'RegExp',
          'x',
          '__proto__',
        ),
        value: fc.oneof(tie('any'), fc.array(fc.tuple(tie('any'), tie('any')))),
      }),
    ),
  })).any
  fc.assert(
    fc.property(forged, (value) => {
      try {
        decodeTagged(value)
      } catch (thrown) {
        assert(thrown instanceof TaggedError)
      }
    }),
  )
})

test('A tag with invalid content is refused', () => {
  const forged = [
    { $type: 'Date', value: '1970' },
    { $type: 'Date', value: 0 },
    { $type: 'Date', value: { toISOString: 1 } },
    { $type: 'BigInt', value: '0x10' },
    { $type: 'BigInt', value: '-0' },
    { $type: 'BigInt', value: '' },
    { $type: 'BigInt', value: '9'.repeat(400_000) },
    { $type: 'bytes', value: 'not base64' },
    { $type: 'bytes', value: 'AA' },
    { $type: 'number', value: '1' },
    { $type: 'number', value: 'toString' },
    { $type: 'undefined', value: 1 },
    { $type: 'Map', value: [[1]] },
    { $type: 'Set', value: {} },
    { $type: 'object', value: [[1, 2]] },
    {
      $type: 'object',
      value: [
        ['a', 1],
        ['a', 2],
      ],
    },
    { $type: 'RegExp', value: { source: '(', flags: 7 } },
    { $type: 'RegExp', value: { source: 'x', flags: '', more: 1 } },
    { $type: 'Error', value: { name: 'Error' } },
    { $type: 'Error', value: { name: 'Error', message: 'x', stack: {} } },
    { $type: 'Error', value: [] },
    { $type: 'Error', value: { $type: 'Map', value: [] } },
    { $type: 'Function', value: '() => 1' },
    { $type: 'Date', value: null, more: 1 },
    { $type: { $type: 'Date' } },
    { $type: 'toString' },
  ]
  for (const value of forged) assert.throws(() => decodeTagged([value]), TaggedError)
})

test('An own key __proto__ stays a key and touches no prototype', () => {
  const value: unknown = parseJson('{"__proto__": {"polluted": true}, "a": 1}')
  const { text, encoding } = encodeTagged(value)
  assert.equal(text, '{"$type":"object","value":[["__proto__",{"polluted":true}],["a",1]]}')
  assert.equal(encoding, 'tagged')
  const back = decodeTagged(parseJson(text)) as object
  assert.deepEqual(Object.keys(back), ['__proto__', 'a'])
  assert.equal(Object.getPrototypeOf(back), Object.prototype)
  assert.ok(!('polluted' in {}))
})

test('Non-data is refused with the reason', () => {
  const circular: unknown[] = []
  circular.push([circular])
  assert.throws(() => encodeTagged(circular), /contains itself/)
  assert.throws(() => encodeTagged(() => 1), /a function/)
  assert.throws(() => encodeTagged([Symbol('x')]), /a symbol/)
  let deep: unknown = 1
  for (let level = 0; level < 513; level++) deep = [deep]
  assert.throws(() => encodeTagged(deep), /512 levels/)
  const twice = {}
  assert.equal(encodeTagged([twice, twice]).text, '[{},{}]')
})

test('An error round-trips with its name, message, stack, reasons and own properties', () => {
  const cause = new RangeError('no row 9', { cause: new Map([[1, 2n]]) })
  const all = new AggregateError([cause, 'text'], 'both')
  const error = Object.assign(new TypeError('x', { cause: all }), { code: 'E', $type: 'Date' })
  const { text, encoding } = encodeTagged([error])
  assert.equal(encoding, 'tagged')
  const [read] = decodeTagged(parseJson(text)) as [typeof error]
  assert.deepEqual(facts(read), facts(error))
  assert.deepEqual(facts(read.cause as Error), facts(all))
  assert.deepEqual(facts((read.cause as AggregateError).errors[0] as Error), facts(cause))
  assert.deepEqual(Object.entries(read), [
    ['code', 'E'],
    ['$type', 'Date'],
  ])
})

const facts = ({ name, message, stack }: Error) => ({ name, message, stack })

test('The parts of a decoded error are its own, and a pattern is not compiled', () => {
  const parts = '{"name":"E","message":"m","__proto__":{"admin":true},"toString":1}'
  const read = decodeTagged({ $type: 'Error', value: parseJson(parts) }) as Error
  assert(read instanceof Error && !('admin' in read))
  const pattern = { source: '(', flags: 'u' }
  assert.deepEqual(decodeTagged({ $type: 'RegExp', value: pattern }), pattern)
  assert.deepEqual(
    encodeTagged(/a+/g).text,
    '{"$type":"RegExp","value":{"source":"a+","flags":"g"}}',
  )
})
