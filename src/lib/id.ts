import { randomFillSync } from 'node:crypto'

const pool = Buffer.alloc(1020)
let used = pool.length

/**
 * `prefix_` and a UUIDv7 (RFC 9562) without dashes: sorts by time, 74 random bits. `at` is milliseconds since
 * 1970. Random bytes are drawn a hundred ids at a time.
 */
export function newId(prefix: string, at: number = Date.now()): string {
  if (used + 10 > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const first = used
  used += 10
  pool[first] = (pool[first]! & 0x0f) | 0x70
  pool[first + 2] = (pool[first + 2]! & 0x3f) | 0x80
  return `${prefix}_${at.toString(16).padStart(12, '0')}${pool.toString('hex', first, used)}`
}
