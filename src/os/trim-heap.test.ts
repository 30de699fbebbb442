import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isGlibc } from '../../tests/fixtures/glibc.ts'
import { collectGarbage } from '../lib/collect-garbage.ts'
import { trimHeap } from './libc.js'

/** Below the size from which malloc maps each block on its own. */
const BLOCK_BYTES = 20_000
const BLOCKS = 4_000

const skip = !isGlibc() && 'only glibc has malloc_trim(3)'

test(
  'Freed pages in the middle of malloc’s heap are returned to the kernel',
  { skip },
  async () => {
    // Other tests of this process take memory meanwhile, which may hide what goes back.
    let freed = 0
    for (let tries = 0; tries < 8 && freed <= (BLOCK_BYTES * BLOCKS) / 2; tries++)
      freed = await freedByTrim()
    assert.ok(freed > (BLOCK_BYTES * BLOCKS) / 2, `${freed} bytes`)
  },
)

/** Bytes that go back once blocks below one that stays are free. */
async function freedByTrim(): Promise<number> {
  let blocks: Buffer[] = Array.from({ length: BLOCKS }, () =>
    Buffer.allocUnsafeSlow(BLOCK_BYTES).fill(1),
  )
  const last = blocks.at(-1)!
  blocks = []
  await new Promise((resolve) => void setImmediate(resolve))
  collectGarbage()
  const before = process.memoryUsage.rss()
  trimHeap()
  const freed = before - process.memoryUsage.rss()
  assert.equal(last[0], 1)
  return freed
}
