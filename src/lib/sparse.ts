const BLOCK_BYTES = 2 ** 16
const ZEROS = Buffer.alloc(BLOCK_BYTES)

/** Ranges of a chunk that are not zeros, in blocks of 64 KiB: what lies between them can be a hole of a sparse file. */
export function* nonZeroRanges(
  chunk: Uint8Array,
): Generator<{ readonly at: number; readonly bytes: Uint8Array }> {
  for (let at = 0, from = -1; at <= chunk.length; at += BLOCK_BYTES) {
    const block = chunk.subarray(at, at + BLOCK_BYTES)
    const isEmpty = block.length === 0 || ZEROS.subarray(0, block.length).equals(block)
    if (!isEmpty && from < 0) from = at
    const isLast = at + BLOCK_BYTES > chunk.length
    if (from < 0 || (!isEmpty && !isLast)) continue
    yield { at: from, bytes: chunk.subarray(from, isEmpty ? at : chunk.length) }
    from = -1
  }
}
