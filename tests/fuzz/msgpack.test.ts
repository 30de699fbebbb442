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
const charsMax = 10_000

test('S0-23: Damaged MessagePack becomes JSON within its bound or is refused with MsgpackError at a byte of it', (t) => {
  let taken = 0
  fuzz(t, {
    cases: 60_000,
    long: 1_000_000,
    attempt(random) {
      const bytes = mutated(random, samples, ['\u00a9__proto__', '\u0000'])
      const json = reading(bytes)
      if (json === undefined) return
      taken++
      assert.ok(json.length <= charsMax)
      parseJson(json)
      refusesOnlyWithSyntax(json)
    },
  })
  // A reader that refuses everything would pass too.
  assert.ok(taken > 0)
})

function reading(bytes: Buffer): string | undefined {
  try {
    return jsonOfMsgpack(bytes, { depthMax: 64, charsMax })
  } catch (thrown) {
    assert.ok(thrown instanceof MsgpackError, String(thrown))
    assert.ok(thrown.offset >= 0 && thrown.offset <= bytes.length)
    return undefined
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
