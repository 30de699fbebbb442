/** As much of `node:crypto` as a small bundle imports, by code that needs no part of it: see `sha256.js`. */
import { areEqual, drawBytes, hmac, sha256 } from './sha256.js'

/** @param {'sha256'} _algorithm @param {string | Uint8Array} data @param {'hex'} _encoding */
export function hash(_algorithm, data, _encoding) {
  return sha256(data)
}

/** @param {'sha256'} _algorithm @param {Uint8Array} key */
export function createHmac(_algorithm, key) {
  /** @type {Uint8Array[]} */
  const parts = []
  return {
    /** @param {string | Uint8Array} part */
    update(part) {
      parts.push(typeof part === 'string' ? Buffer.from(part) : part)
      return this
    },
    digest: () => hmac(key, parts),
  }
}

/** @param {number} length */
export function randomBytes(length) {
  return drawBytes(length)
}

/** @param {Uint8Array} a @param {Uint8Array} b */
export function timingSafeEqual(a, b) {
  return areEqual(a, b)
}
