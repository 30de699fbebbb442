import assert from 'node:assert/strict'
import { test } from 'node:test'
import { boundedBytes } from './bounded-bytes.js'

test('An answer is read up to its bound, in pieces of any size, and left beyond it', async () => {
  for (const [pieces, bytes] of [
    [[], 0],
    [[10], 10],
    [Array.from({ length: 1000 }, () => 1), 1000],
    [[70_000, 30_000], 100_000],
    [[70_000, 30_001], undefined],
    [[200_000], undefined],
  ] as const) {
    let isLeft = false
    const left = [...pieces]
    const body = new ReadableStream<Uint8Array>({
      pull(made) {
        const next = left.shift()
        if (next === undefined) made.close()
        else made.enqueue(new Uint8Array(next).fill(7))
      },
      cancel: () => void (isLeft = true),
    })
    const found = await boundedBytes(new Response(body), 100_000)
    assert.equal(found?.length, bytes)
    assert.ok(found?.every((byte) => byte === 7) ?? isLeft)
  }
})
