/**
 * Reseeds the random generators of an interpreter after its machine was cloned. Otherwise all clones of a template produce
 * the same random numbers, and a job could predict those of other jobs.
 *
 * `Math.random`: V8 seeds a realm at its first draw, from the isolate's generator unless `--random-seed` is set. The
 * isolate's generator was seeded in the template, so the flag is set for one draw, to 32 bits from the kernel. It is then
 * cleared, or each Worker would draw the same numbers.
 * `randomUUID`: Node caches 128 of them, which are discarded here. `randomBytes` and all else of OpenSSL: it reseeds itself
 * after a jump of the clock, and the claim of a clone sets the clock.
 *
 * Relies on the main realm not having drawn yet. Not handled: realms that a job creates by `node:vm`, whose `Math.random`
 * is seeded by the isolate's generator, and the hash seed: both are the same in all clones.
 */
import fs from 'node:fs'
import { randomUUID } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'

/** Size of Node's cache of UUIDs. */
const STOCK = 128

/** Called after the claim, before the first byte of a job is parsed. */
export function renew() {
  setFlagsFromString(`--random-seed=${drawSeed()}`)
  Math.random()
  setFlagsFromString('--random-seed=0')
  for (let drawn = 0; drawn < STOCK; drawn++) randomUUID()
}

/** Returns a signed 32-bit integer other than 0; 0 would clear the flag. */
function drawSeed() {
  const bytes = Buffer.alloc(4)
  const fd = fs.openSync('/dev/urandom', 'r')
  try {
    if (fs.readSync(fd, bytes) !== bytes.length) throw new Error('Cannot draw a seed')
  } finally {
    fs.closeSync(fd)
  }
  return bytes.readInt32LE() || 1
}
