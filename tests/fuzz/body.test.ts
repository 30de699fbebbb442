import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { test } from 'node:test'
import { MayflyError } from '../../src/contract/error.ts'
import { parseBody } from '../../src/gateway/http/body.ts'
import { fuzz, mutated } from './seeded.ts'
import { parseJson } from '../../src/lib/parse-json.ts'

const samples = [
  { code: 'return input.a + 1', input: { a: 1, b: [true, null, 'é\ud83d\ude00'] }, timeout: '1s' },
  { input: 'x"\\\n\u0000', code: '', tags: { input: 1, '': 2 }, limits: { memory: 64e6 } },
  { input: [[[[{ input: [] }]]]], code: 'return 1', n: -0.5e-7 },
].map((value) => Buffer.from(JSON.stringify(value)))
const pieces = [
  '"__proto__":',
  '"input":',
  ',',
  '{',
  '[',
  ']',
  '}',
  '"',
  '\\',
  '\\u0069',
  ':',
  '1e9',
  '['.repeat(70),
]

test('S0-23: A body is read as JSON.parse reads it or refused with SYNTAX, and the kept text is its member', (t) => {
  let taken = 0
  const attempt = (bytes: Buffer): void => {
    const read = reading(bytes)
    if (!read) return
    taken++
    const text = bytes.toString()
    assert.equal(JSON.stringify(read.value), JSON.stringify(parseJson(text)))
    const { input } = Object(read.value) as { input?: unknown }
    const isThere = Object.hasOwn(Object(read.value) as object, 'input')
    assert.equal(read.kept !== undefined, isThere && !Array.isArray(read.value))
    if (read.kept !== undefined)
      assert.equal(JSON.stringify(parseJson(read.kept)), JSON.stringify(input))
  }
  fuzz(t, {
    cases: 60_000,
    long: 1_000_000,
    attempt: (random) => attempt(mutated(random, samples, pieces)),
  })
  // A reader that refuses everything would pass too.
  assert.ok(taken > 0)
})

function reading(bytes: Buffer): ReturnType<typeof parseBody> | undefined {
  try {
    return parseBody(bytes, 'input')
  } catch (thrown) {
    assert.ok(thrown instanceof MayflyError && thrown.code === 'SYNTAX', String(thrown))
    assert.ok(
      /duplicate key|nested deeper|range of a double/.test(thrown.message) || !isJson(bytes),
      String(thrown),
    )
    return undefined
  }
}

function isJson(bytes: Buffer): boolean {
  if (!isUtf8(bytes)) return false
  try {
    JSON.parse(bytes.toString())
    return true
  } catch {
    return false
  }
}
