// @ts-check

const FIRST_BYTES = 2 ** 16

/**
 * Bytes of an answer, after decompression; undefined, with the rest unread, if there are more than `bytesMax`. The header
 * `content-length` is no bound: an answer may have none, and may be compressed. Pieces are copied, because many small ones
 * would take a multiple of their bytes.
 *
 * @param {Response} response
 * @param {number} bytesMax
 * @returns {Promise<Uint8Array<ArrayBuffer> | undefined>}
 */
export async function boundedBytes(response, bytesMax) {
  // Not every fetch has streams.
  const reader = response.body?.getReader?.()
  if (!reader) {
    const bytes = new Uint8Array(await response.arrayBuffer())
    return bytes.length > bytesMax ? undefined : bytes
  }
  let bytes = new Uint8Array(FIRST_BYTES)
  let length = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return bytes.subarray(0, length)
    const end = length + value.length
    if (end > bytesMax) break
    if (end > bytes.length)
      bytes = grown(bytes, Math.max(end, Math.min(2 * bytes.length, bytesMax)))
    bytes.set(value, length)
    length = end
  }
  await reader.cancel()
  return undefined
}

/** @param {Uint8Array<ArrayBuffer>} bytes @param {number} length */
function grown(bytes, length) {
  const larger = new Uint8Array(length)
  larger.set(bytes)
  return larger
}
