/**
 * Draws anew what an interpreter drew before its machine was cloned: without that the random numbers of all clones of a template
 * are the same, which each of their jobs would know of the others.
 *
 * `Math.random`: V8 seeds a realm at its first draw, by the generator of its isolate unless `--random-seed` is set. The
 * isolate's was seeded in the template, so the flag is set for one draw: 32 bits of the kernel's generator. It is not left set:
 * each Worker would draw the same numbers.
 * `randomUUID`: Node keeps 128 in stock, which are used up here. `randomBytes` and all else of OpenSSL: it reseeds by
 * itself at a jump of the clock, which a claim is.
 *
 * Relies on a main realm that has drawn nothing yet. Not handled: realms that a job makes by `node:vm`, whose
 * `Math.random` comes from the isolate's generator, and the seed of hashes: both are the same in all clones.
 */
import fs from 'node:fs'
import { randomUUID } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'

/** Length of Node's stock of UUIDs. */
const STOCK = 128

/** Called after the claim and before the first byte of a job is looked at. */
export function renew() {
  setFlagsFromString(`--random-seed=${drawSeed()}`)
  Math.random()
  setFlagsFromString('--random-seed=0')
  for (let drawn = 0; drawn < STOCK; drawn++) randomUUID()
}

/** A signed 32-bit integer other than 0, which would mean none. */
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
