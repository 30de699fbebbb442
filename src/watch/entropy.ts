/** A piece says nothing about its kind when it is shorter. */
const bytesMin = 256
/** Enough to tell; more only costs. */
const bytesMax = 4096

/**
 * How much like noise a piece of output is: bits a byte, 0 to 8, of its beginning; undefined where it is too short to
 * tell. A short piece of noise looks calmer than it is, since few of the 256 bytes can occur in it: what is told is
 * corrected for that (Miller and Madow), and never above 8.
 */
export function entropyOf(piece: Uint8Array): number | undefined {
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
