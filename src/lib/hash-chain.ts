import { sha256 } from './hash.ts'

/**
 * Start of the hash chain: 64 zeros.
 *
 * A head commits to every earlier item and their order, so that editing, removing or moving one changes all
 * later heads. Items enter by digest: the warden extends the chain without reading the lines. The digest has a
 * fixed length, so `previous + digest` is unambiguous. A chain alone does not detect truncation or a complete
 * rewrite: for that the warden signs heads (src/warden/sign.ts).
 */
export const chainStart = '0'.repeat(64)

/** Next head: SHA-256 over the previous head and the item's digest, both as lower-case hex. */
export function chainStep(previous: string, digest: string): string {
  return sha256(previous + digest)
}
