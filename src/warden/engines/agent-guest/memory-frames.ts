import { promisify } from 'node:util'
import { constants, zstdCompress } from 'node:zlib'
import { pageBytes, type PageRun } from '../../../os/mapped-memory.ts'
import type { CopyBounds, GuestFile } from './source.ts'

/**
 * Memory of a paused guest as files of a capture: pages compressed in zstd frames (RFC 8878), which concatenated are a zstd
 * file, and the list of their places. Limits: bytes of the files, and time to read; the list says what was left out.
 */
const LEVEL = 3
const MEMORY_MS_MAX = 3_000
const LATE = `memory that could not be read within ${MEMORY_MS_MAX} ms is missing`
/** Space reserved for the list of pages, which follows the memory. */
const PLACES_BYTES = 4 * 2 ** 20
const ZEROS = Buffer.alloc(pageBytes)
const compress = promisify(zstdCompress)

/** Consecutive pages, with their place in the memory of the guest. */
export interface GuestPages {
  readonly run: PageRun
  readonly bytes: Buffer
}

/** Runs of pages that differ from `theirs`; without it, those that have a byte other than zero. */
export function changedPages(own: Buffer, firstPage: number, theirs?: Buffer): GuestPages[] {
  const found: GuestPages[] = []
  const pageOf = (bytes: Buffer, page: number) =>
    bytes.subarray(page * pageBytes, (page + 1) * pageBytes)
  const count = Math.floor(own.length / pageBytes)
  for (let page = 0, from = -1; page <= count; page++) {
    const other = theirs ? pageOf(theirs, page) : ZEROS
    const isChanged = page < count && !pageOf(own, page).equals(other)
    if (isChanged && from < 0) from = page
    if (isChanged || from < 0) continue
    const run = { first: firstPage + from, count: page - from }
    found.push({ run, bytes: own.subarray(from * pageBytes, page * pageBytes) })
    from = -1
  }
  return found
}

/** A frame for each group of pages, in rising order, then the list. `bytesMax` is for all of these files. */
export async function* memoryFiles(
  groups: AsyncIterable<readonly GuestPages[]>,
  { memoryBytes, bytesMax }: { readonly memoryBytes: number; readonly bytesMax: number },
): AsyncGenerator<GuestFile, CopyBounds> {
  const until = performance.now() + MEMORY_MS_MAX
  let left = bytesMax - PLACES_BYTES
  let isLate = false
  const runs: (readonly [first: number, count: number])[] = []
  const frames: number[] = []
  for await (const pages of groups) {
    const bytes = await compress(Buffer.concat(pages.map((one) => one.bytes)), {
      params: { [constants.ZSTD_c_compressionLevel]: LEVEL },
    })
    left -= bytes.length
    isLate = performance.now() > until
    if (left < 0 || isLate) break
    runs.push(...pages.map(({ run }) => [run.first, run.count] as const))
    frames.push(bytes.length)
    yield { name: 'memory.zst', bytes }
  }
  const isWhole = left >= 0 && !isLate
  const places = { format: 1, bytes: memoryBytes, pageBytes, isWhole, frames, runs }
  yield { name: 'memory.json', bytes: jsonBytes(places) }
  return { isWhole: left >= 0, lacks: isLate ? [LATE] : [] }
}

export const jsonBytes = (value: unknown) => Buffer.from(JSON.stringify(value))
