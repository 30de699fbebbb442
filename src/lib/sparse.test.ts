import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nonZeroRanges } from './sparse.ts'

const BLOCK = 2 ** 16

test('Ranges of random chunks have every byte that is not zero, and no block of zeros', () => {
  for (const length of [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 5 * BLOCK + 7])
    for (let seed = 0; seed < 64; seed++) {
      const chunk = Buffer.alloc(length)
      for (let block = 0; block * BLOCK < length; block++)
        if ((seed >> block) & 1) chunk[Math.min(length - 1, block * BLOCK + seed)] = 1
      const copy = Buffer.alloc(length)
      let written = 0
      for (const { at, bytes } of nonZeroRanges(chunk)) {
        copy.set(bytes, at)
        written += bytes.length
      }
      assert.ok(copy.equals(chunk), `${length} ${seed}`)
      const blocks = Array.from({ length: Math.ceil(length / BLOCK) }, (_, at) => at * BLOCK)
      const used = blocks.filter((at) => chunk.subarray(at, at + BLOCK).some((byte) => byte !== 0))
      assert.ok(written <= used.length * BLOCK, `${length} ${seed}`)
    }
})
