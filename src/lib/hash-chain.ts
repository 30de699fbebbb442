import { sha256 } from './hash.ts'

/** What the first step starts from: 64 zeros. */
export const chainStart = '0'.repeat(64)

/** The head after one more item: SHA-256 over the head before it and the item's digest, both as lower-case hex. */
export function chainStep(previous: string, digest: string): string {
  return sha256(previous + digest)
}
