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
 * A forked session has drawn already, and no API seeds a realm twice. `renewUsed` gives it the `Math.random` of a new realm, whose first
 * draw takes the flag's seed, and has OpenSSL reseed by its own RAND_poll: the clock of a fork need not jump. A reference to the former
 * `Math.random` that a program kept continues the numbers of its parent, at another place.
 *
 * `renew` relies on the main realm not having drawn yet. Not handled: Workers of a forked session; realms that a job creates by `node:vm`, whose `Math.random`
 * is seeded by the isolate's generator, and the hash seed: both are the same in all clones.
 */
import fs from 'node:fs'
import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { setFlagsFromString } from 'node:v8'
import vm from 'node:vm'

/** Size of Node's cache of UUIDs. */
const STOCK = 128
/** Numbers of the former generator that a fork skips, at most. */
const SKIPPED_MAX = 65_536

/** Called after the claim, before the first byte of a job is parsed. */
export function renew() {
  seed(Math.random)
  for (let drawn = 0; drawn < STOCK; drawn++) randomUUID()
}

/** Called in a session whose machine was forked, before its next cell. */
export function renewUsed() {
  const former = Math.random
  const fresh = vm.runInNewContext('Math.random')
  seed(fresh)
  Object.setPrototypeOf(fresh, Function.prototype)
  Object.defineProperty(Math, 'random', { value: fresh, writable: true, configurable: true })
  const skipped = (drawSeed() >>> 0) % SKIPPED_MAX
  for (let drawn = 0; drawn < skipped; drawn++) former()
  // First, because the stock is filled from it.
  reseedOpenSsl()
  for (let drawn = 0; drawn < STOCK; drawn++) randomUUID()
}

/** @param {() => number} draw of a realm that has not drawn yet */
function seed(draw) {
  setFlagsFromString(`--random-seed=${drawSeed()}`)
  draw()
  setFlagsFromString('--random-seed=0')
}

/** RAND_poll(3) reseeds the generator of which those of all threads take their seeds. */
function reseedOpenSsl() {
  const ffi = createRequire(import.meta.url)('node:ffi')
  const { functions } = ffi.dlopen(null, { RAND_poll: { arguments: [], return: 'i32' } })
  if (functions.RAND_poll() !== 1) throw new Error('Cannot reseed OpenSSL')
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
