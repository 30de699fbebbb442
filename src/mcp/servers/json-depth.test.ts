import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JsonDepth } from './json-depth.ts'

function passes(text: string, size = 7): boolean {
  const [depth, bytes] = [new JsonDepth(), Buffer.from(text)]
  for (let at = 0; at < bytes.length; at += size)
    if (!depth.passes(bytes.subarray(at, at + size))) return false
  return true
}

const nested = (depth: number) => `${'[{"a":'.repeat(depth / 2)}1${'}]'.repeat(depth / 2)}`

test('JSON of 64 levels passes, of 66 not, and brackets within texts are not counted', () => {
  for (const size of [1, 7, 1000]) {
    assert.ok(passes(`${nested(64)}\n\n`.repeat(50), size))
    assert.ok(!passes(nested(66), size))
    assert.ok(passes(JSON.stringify({ a: `\\"${'['.repeat(500)}"\\\\`, b: ['\\'] }), size))
    assert.ok(
      !passes(`{"a":"\\\\","b":${nested(66)}}`, size),
      'an escaped backslash ends no escape',
    )
    assert.ok(
      !passes(`data: {"a":"x"}\n\n: it"s\ndata: ${nested(66)}\n\n`, size),
      'a line ends a text',
    )
  }
})
