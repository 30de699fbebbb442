import { createHmac, hash, randomFillSync, timingSafeEqual } from 'node:crypto'

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
  const salt = salts.subarray(start, start + saltBytes)
  if (text.length > shortCharsMax) return createHmac('sha256', salt).update(text).digest('hex')
  return hmacOfShort(salt, text)
}

/** HMAC (RFC 2104) by two one-shot hashes, without an object: 2.2 in place of 3.6 µs, five times a job. */
function hmacOfShort(salt: Uint8Array, text: string): string {
  for (let at = 0; at < blockBytes; at += 1) {
    const byte = salt[at] ?? 0
    inner[at] = byte ^ 0x36
    outer[at] = byte ^ 0x5c
  }
  const end = blockBytes + inner.write(text, blockBytes)
  outer.set(hash('sha256', inner.subarray(0, end), 'buffer'), blockBytes)
  inner.fill(0, 0, end)
  return hash('sha256', outer, 'hex')
}

const blockBytes = 64
/** Code units take three bytes of UTF-8 at most. */
const shortCharsMax = 1024
const inner = Buffer.alloc(blockBytes + shortCharsMax * 3)
const outer = Buffer.alloc(blockBytes + 32)

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
