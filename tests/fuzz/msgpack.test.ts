import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MayflyError } from '../../src/contract/error.ts'
import { parseBody } from '../../src/gateway/http/body.ts'
import { jsonOfMsgpack, MsgpackError, msgpackOf } from '../../src/lib/msgpack.ts'
import { fuzz, mutated } from './seeded.ts'
import { parseJson } from '../../src/lib/parse-json.ts'

const samples = [
  { code: 'return 1', input: { a: [1, -1, 200, -40, 70_000, 1.5, true, null], é: '\ud83d\ude00' } },
  Array.from({ length: 40 }, (_, n) => ({ [`key ${n}`]: 'x'.repeat(n) })),
  [[[[[{ __proto__x: {} }]]]], 2 ** 40, -(2 ** 31)],
].map(msgpackOf)
/** Between the sizes of the largest sample, which is refused, and of the others. */
const charsMax = 1_300

test('S0-23: Damaged MessagePack becomes JSON within its bound or is refused with MsgpackError at a byte of it', (t) => {
  const count = { taken: 0, large: 0 }
  fuzz(t, {
    cases: 60_000,
    long: 1_000_000,
    attempt(random) {
      const bytes = mutated(random, samples, ['\u00a9__proto__', '\u0000'])
      const json = reading(bytes)
      if (json === 'large') count.large++
      if (json === undefined || json === 'large') return
      count.taken++
      assert.ok(json.length <= charsMax)
      parseJson(json)
      refusesOnlyWithSyntax(json)
    },
  })
  // A reader that refuses everything would pass too, and so would a bound that no text reaches.
  assert.ok(count.taken > 0 && count.large > 0, JSON.stringify(count))
})

function reading(bytes: Buffer): string | undefined {
  try {
    return jsonOfMsgpack(bytes, { depthMax: 64, charsMax })
  } catch (thrown) {
    assert.ok(thrown instanceof MsgpackError, String(thrown))
    assert.ok(thrown.offset >= 0 && thrown.offset <= bytes.length)
    return /too large as JSON/.test(thrown.message) ? 'large' : undefined
  }
}

/** A duplicate key is valid for JSON.parse, and invalid for the body's reader. */
function refusesOnlyWithSyntax(json: string): void {
  try {
    parseBody(Buffer.from(json), 'input')
  } catch (thrown) {
    assert.ok(thrown instanceof MayflyError && thrown.code === 'SYNTAX', String(thrown))
  }
}
