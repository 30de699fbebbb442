/**
 * SHA-256 (FIPS 180-4) and HMAC (RFC 2104) for the few short texts that a run by a server hashes: the name
 * of the server, and two proofs.
 *
 * Problem. Loading `node:crypto` is a sixth of what Node itself costs to start; it brings forty modules along. Mechanism.
 * A kilobyte takes a fifth of a millisecond here. Anything longer, and every other program, asks `node:crypto`.
 * `tests/doors/small-bundle.test.ts` compares both. Not handled: secrets in the timing of the processor, which a program
 * that starts, proves itself once and ends does not show.
 */
const { closeSync, fstatSync, openSync, readSync } = process.getBuiltinModule('node:fs')

const BLOCK_BYTES = 64
const LENGTH_BYTES = 8
const HASH_BYTES = 32
const START = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]
const ROUNDS = new Int32Array([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
])

/** @param {string | Uint8Array} data */
export function sha256(data) {
  return digest(typeof data === 'string' ? Buffer.from(data) : data).toString('hex')
}

/** @param {Uint8Array} key @param {readonly Uint8Array[]} parts */
export function hmac(key, parts) {
  const block = Buffer.alloc(BLOCK_BYTES)
  block.set(key.length > BLOCK_BYTES ? digest(key) : key)
  const inner = digest(Buffer.concat([block.map((byte) => byte ^ 0x36), ...parts]))
  return digest(Buffer.concat([block.map((byte) => byte ^ 0x5c), inner]))
}

/** Compares every byte of both. @param {Uint8Array} a @param {Uint8Array} b of the same length */
export function areEqual(a, b) {
  let difference = a.length ^ b.length
  for (let at = 0; at < a.length; at++) difference |= (a[at] ?? 0) ^ (b[at] ?? 0)
  return difference === 0
}

/** Bytes of the kernel's. Throws Error where `/dev/urandom` is anything but its device. @param {number} length */
export function drawBytes(length) {
  const fd = openSync('/dev/urandom', 'r')
  try {
    const { rdev } = fstatSync(fd)
    const bytes = Buffer.alloc(length)
    if (rdev !== URANDOM || readSync(fd, bytes) !== length) throw new Error('no random bytes')
    return bytes
  } finally {
    closeSync(fd)
  }
}

/** Device 1:9 of Linux. */
const URANDOM = 0x109

/** @param {Uint8Array} bytes */
function digest(bytes) {
  const state = Int32Array.from(START)
  const rest = bytes.length % BLOCK_BYTES
  const whole = bytes.length - rest
  const last = Buffer.alloc(rest + 1 + LENGTH_BYTES > BLOCK_BYTES ? 2 * BLOCK_BYTES : BLOCK_BYTES)
  last.set(bytes.subarray(whole))
  last[rest] = 0x80
  last.writeBigUInt64BE(BigInt(bytes.length) * 8n, last.length - LENGTH_BYTES)
  const words = new Int32Array(BLOCK_BYTES)
  for (let at = 0; at < whole; at += BLOCK_BYTES) mix(state, words, bytes, at)
  for (let at = 0; at < last.length; at += BLOCK_BYTES) mix(state, words, last, at)
  const hash = Buffer.alloc(HASH_BYTES)
  state.forEach((word, at) => hash.writeInt32BE(word, at * 4))
  return hash
}

/**
 * Written out, because code that runs for a millisecond is interpreted, and each call of it costs.
 *
 * @param {Int32Array} state @param {Int32Array} words @param {Uint8Array} bytes @param {number} from
 */
function mix(state, words, bytes, from) {
  for (let t = 0, at = from; t < 16; t++, at += 4)
    words[t] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]
  for (let t = 16; t < 64; t++) {
    const x = words[t - 15]
    const y = words[t - 2]
    const low = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)
    const high = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10)
    words[t] = words[t - 16] + low + words[t - 7] + high
  }
  let a = state[0]
  let b = state[1]
  let c = state[2]
  let d = state[3]
  let e = state[4]
  let f = state[5]
  let g = state[6]
  let h = state[7]
  for (let t = 0; t < 64; t++) {
    const high = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))
    const low = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))
    const first = (h + high + ((e & f) ^ (~e & g)) + ROUNDS[t] + words[t]) | 0
    h = g
    g = f
    f = e
    e = (d + first) | 0
    d = c
    const majority = (a & b) ^ (a & c) ^ (b & c)
    c = b
    b = a
    a = (first + low + majority) | 0
  }
  state[0] += a
  state[1] += b
  state[2] += c
  state[3] += d
  state[4] += e
  state[5] += f
  state[6] += g
  state[7] += h
}
