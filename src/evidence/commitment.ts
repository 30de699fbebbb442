import { createHmac, randomFillSync, timingSafeEqual } from 'node:crypto'

/**
 * Salted commitments: the log proves that a text was this code or that input without containing it. HMAC-SHA-256
 * keyed with 16 random bytes per field: opening one field reveals no other, and short or common values cannot be
 * guessed. A holder of the salt can prove a body; once the salt is deleted, no proof is possible.
 */
export const committed = ['code', 'input', 'principal', 'files', 'result'] as const
export type Committed = (typeof committed)[number]

const saltBytes = 16
const lineSaltBytes = saltBytes * committed.length
const pool = Buffer.alloc(lineSaltBytes * 64)
let used = pool.length

/** Fresh salts for the fields of one job, concatenated. Drawn from the RNG for 64 jobs at a time. */
export function newSalts(): Uint8Array {
  if (used === pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const salts = Uint8Array.prototype.slice.call(pool, used, used + lineSaltBytes)
  pool.fill(0, used, used + lineSaltBytes)
  used += lineSaltBytes
  return salts
}

/** Commitment to `text`, as lower-case hex. */
export function commit(salts: Uint8Array, field: Committed, text: string): string {
  const start = committed.indexOf(field) * saltBytes
  return createHmac('sha256', salts.subarray(start, start + saltBytes))
    .update(text)
    .digest('hex')
}

/** True if `text` opens the commitment. */
export function opens(
  commitment: string,
  salts: Uint8Array,
  field: Committed,
  text: string,
): boolean {
  const [a, b] = [Buffer.from(commitment), Buffer.from(commit(salts, field, text))]
  return a.length === b.length && timingSafeEqual(a, b)
}
