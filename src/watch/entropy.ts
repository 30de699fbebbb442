/** Minimum length for a meaningful estimate. */
const bytesMin = 256
/** Bytes examined per chunk. */
const bytesMax = 4096

/**
 * Shannon entropy of the start of a chunk in bits per byte, 0 to 8; undefined for short chunks. Small samples
 * underestimate it, which the Miller–Madow correction compensates.
 */
export function bytesEntropyOf(piece: Uint8Array): number | undefined {
  const length = Math.min(piece.length, bytesMax)
  if (length < bytesMin) return undefined
  const counts = new Uint32Array(256)
  for (let at = 0; at < length; at++) counts[piece[at]!]! += 1
  let bits = 0
  let kinds = 0
  for (const count of counts) {
    if (count === 0) continue
    kinds += 1
    bits -= (count / length) * Math.log2(count / length)
  }
  return Math.min(8, bits + (kinds - 1) / (2 * length * Math.LN2))
}
