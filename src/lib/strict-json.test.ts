import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readStrictJson, StrictJsonError } from './strict-json.ts'

const read = (text: string | Uint8Array, keep?: string) =>
  readStrictJson(typeof text === 'string' ? Buffer.from(text) : text, {
    depthMax: 64,
    ...(keep === undefined ? {} : { keep }),
  })

function refusal(text: string | Uint8Array): StrictJsonError {
  try {
    read(text)
  } catch (thrown) {
    assert.ok(thrown instanceof StrictJsonError)
    return thrown
  }
  return assert.fail('Nothing was refused')
}

test('Strict JSON gives the value that JSON.parse gives', () => {
  const text = '{"a":[1,2.5e3,{"b":null}],"c":"\\u00e9\\n\\"}{","d":true}'
  assert.deepEqual(read(text).value, JSON.parse(text))
})

test('A duplicate key in one object is refused with its path and offset', () => {
  const error = refusal('{"a":[{"b":1},{"b":1,"c":2,"b":3}]}')
  assert.equal(error.message, 'duplicate key')
  assert.equal(error.path, 'a.1.b')
  assert.equal(error.offset, 27)
})

test('A key written with escapes is the same key', () => {
  assert.equal(refusal('{"ab":1,"\\u0061b":2}').message, 'duplicate key')
})

test('The same key in two objects is no duplicate, nor is a value equal to a key', () => {
  assert.deepEqual(read('[{"a":"a"},{"a":{"a":1}}]').value, [{ a: 'a' }, { a: { a: 1 } }])
})

test('The hundredth key is compared as exactly as the second', () => {
  const members = Array.from({ length: 100 }, (_, i) => `"k${i}":${i}`)
  assert.equal(Object.keys(read(`{${members.join(',')}}`).value as object).length, 100)
  assert.equal(refusal(`{${members.join(',')},"k42":0}`).path, 'k42')
})

test('Nesting up to 64 is read and 65 refused', () => {
  assert.ok(read('['.repeat(64) + ']'.repeat(64)))
  assert.equal(refusal('['.repeat(65) + ']'.repeat(65)).message, 'nested deeper than 64')
})

test('100,000 nested arrays or objects are refused before they are parsed', () => {
  assert.equal(refusal('['.repeat(100_000)).offset, 64)
  assert.equal(refusal('{"a":'.repeat(100_000)).message, 'nested deeper than 64')
})

test('Brackets inside strings do not nest', () => {
  assert.equal(read(`"${'['.repeat(100_000)}"`).value, '['.repeat(100_000))
})

test('Invalid UTF-8 is refused with the offset of the first bad byte', () => {
  assert.equal(refusal(Buffer.from([0x22, 0x61, 0xff, 0x22])).offset, 2)
  assert.equal(refusal(Buffer.from([0x22, 0xc3, 0xa9, 0xc3, 0x28, 0x22])).offset, 4)
  const long = Buffer.from(`"${'é'.repeat(1000)}\u0000${'é'.repeat(1000)}"`)
  long[2001] = 0x80
  assert.equal(refusal(long).offset, 2001)
  assert.equal(refusal(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])).message, 'invalid UTF-8')
})

test('A byte order mark, an empty text and trailing text are refused', () => {
  assert.equal(refusal(Buffer.from([0xef, 0xbb, 0xbf, 0x7b, 0x7d])).offset, 0)
  assert.equal(refusal('').message, 'the text is empty')
  assert.equal(refusal('{} x').message, 'a syntax error')
  assert.equal(refusal('{"a":').offset, 5)
})

test('Invalid JSON is refused without quoting it', () => {
  const texts = ['{', '}', ']', '{"a"', '"', '"\\', '{"a":}', '{a:1}', ',', 'secret', '{"\\x":1}']
  for (const text of texts) assert.ok(!refusal(text).message.includes('secret'))
})

test('A __proto__ key is an own property and changes no prototype', () => {
  const value = read('{"__proto__":{"polluted":1}}').value as Record<string, unknown>
  assert.ok(Object.hasOwn(value, '__proto__'))
  assert.equal(value['polluted'], undefined)
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
})

test('The exact text of a top-level member is kept', () => {
  assert.equal(
    read('{"x":{"input":0},"input" : [1, 12345678901234567890] ,"y":1}', 'input').kept,
    '[1, 12345678901234567890]',
  )
  assert.equal(read('{"input":"a,}"}', 'input').kept, '"a,}"')
  assert.equal(read('{"\\u0069nput":{"é":2}}', 'input').kept, '{"é":2}')
  assert.equal(read('{"x":1}', 'input').kept, undefined)
  assert.equal(read('[{"input":1}]', 'input').kept, undefined)
})

test('More keys than can be compared in bounded time are refused', () => {
  const record = '{"a":1,"b":2,"c":3,"d":4},'
  assert.match(refusal(`[${record.repeat(125_001)}0]`).message, /more than 500000 keys/)
})
