import type { FileHandle } from 'node:fs/promises'
import { nonZeroRanges } from './sparse.ts'
import { writeWholeAt } from './write-whole.ts'

const CHUNK_BYTES = 2 ** 20

/** Copies a file of `size` bytes with holes for its zeros. Rejects with Error where it ends early, and as the file system does. */
export async function copySparse(
  source: Pick<FileHandle, 'read'>,
  target: Pick<FileHandle, 'truncate' | 'write'>,
  size: number,
): Promise<void> {
  await target.truncate(size)
  const chunk = Buffer.alloc(CHUNK_BYTES)
  for (let at = 0; at < size;) {
    const { bytesRead } = await source.read(chunk, 0, Math.min(CHUNK_BYTES, size - at), at)
    if (bytesRead === 0) throw new Error('the memory of its template ends early')
    for (const range of nonZeroRanges(chunk.subarray(0, bytesRead)))
      await writeWholeAt(target, range.bytes, at + range.at)
    at += bytesRead
  }
}
