import { createHmac, randomFillSync, timingSafeEqual } from 'node:crypto'

/**
 * Salted commitments: the record shows that something was this code or that input without holding it. HMAC-SHA-256
 * keyed with 16 random bytes a field, so that opening one field says nothing of another, and short or common
 * values cannot be guessed from the line. Whoever has the salt can prove a body; when it is deleted nobody can.
 */
export const committed = ['code', 'input', 'principal', 'files', 'result'] as const
export type Committed = (typeof committed)[number]

const saltBytes = 16
const lineSaltBytes = saltBytes * committed.length
const pool = Buffer.alloc(lineSaltBytes * 64)
let used = pool.length

/** Fresh salts for the fields of one job, side by side. Random bytes are drawn for 64 jobs at a time. */
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

/** The commitment to `text`, as lower-case hex. */
export function commit(salts: Uint8Array, field: Committed, text: string): string {
  const start = committed.indexOf(field) * saltBytes
  return createHmac('sha256', salts.subarray(start, start + saltBytes))
    .update(text)
    .digest('hex')
}

/** Whether `text` is what was committed to. */
export function opens(
  commitment: string,
  salts: Uint8Array,
  field: Committed,
  text: string,
): boolean {
  const [a, b] = [Buffer.from(commitment), Buffer.from(commit(salts, field, text))]
  return a.length === b.length && timingSafeEqual(a, b)
}
