import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { zstdDecompressSync } from 'node:zlib'
import { pageBytes } from '../../../os/mapped-memory.ts'
import { changedPages, memoryFiles } from './memory-frames.ts'

const KiB = 1024
/** Space that is reserved for the list of pages. */
const LIST_BYTES = 4096 * KiB
const groupBytes = 64 * KiB
const groups = Array.from({ length: 8 }, () => randomBytes(groupBytes))
const pagesOfGroup = groupBytes / pageBytes

interface PageList {
  readonly isWhole: boolean
  readonly frames: readonly number[]
  readonly runs: readonly (readonly [number, number])[]
}

/** Files of a memory of random bytes, which cannot be compressed, with this bound. */
async function copied(bytesMax: number) {
  async function* pages() {
    for (const [n, bytes] of groups.entries()) yield changedPages(bytes, n * pagesOfGroup)
  }
  const files = memoryFiles(pages(), { memoryBytes: groups.length * groupBytes, bytesMax })
  const frames: Buffer[] = []
  let list = ''
  for (;;) {
    const { done, value } = await files.next()
    if (done) return { frames, list: JSON.parse(list) as PageList, bounds: value }
    if (value.name === 'memory.zst') frames.push(Buffer.from(value.bytes))
    else list = value.bytes.toString()
  }
}

test('S1-20: a copy of memory ends at its byte limit, is marked as not whole, and lists the pages that it has', async () => {
  const { frames, list, bounds } = await copied(LIST_BYTES + 3.5 * groupBytes)
  assert.ok(Buffer.concat(frames.map((one) => zstdDecompressSync(one))).equals(firstGroups(3)))
  assert.deepEqual(
    list.runs,
    [0, 1, 2].map((n) => [n * pagesOfGroup, pagesOfGroup]),
  )
  assert.deepEqual(
    list.frames,
    frames.map(({ length }) => length),
  )
  assert.deepEqual([list.isWhole, bounds], [false, { isWhole: false, lacks: [] }])
})

test('A copy of memory within its byte limit is whole', async () => {
  const { frames, list, bounds } = await copied(LIST_BYTES + 9 * groupBytes)
  assert.ok(Buffer.concat(frames.map((one) => zstdDecompressSync(one))).equals(firstGroups(8)))
  assert.deepEqual([list.isWhole, bounds], [true, { isWhole: true, lacks: [] }])
})

const firstGroups = (count: number) => Buffer.concat(groups.slice(0, count))
