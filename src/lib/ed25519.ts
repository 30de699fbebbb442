import { createPublicKey, type KeyObject, verify } from 'node:crypto'

/**
 * Strict Ed25519 verification: canonical base64, canonical point encodings of large order, and `S` below the
 * group order (RFC 8032, section 5.1.7, and stricter). Each signature then has one form, and weak keys are
 * useless: with a key of small order one signature fits nearly every message.
 */
const FIELD = 2n ** 255n - 19n
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n
const SIGN_BIT = 2n ** 255n
/** y of a point of order 8; its negative has the same y, and the other pair has p - y. */
const Y_OF_ORDER_8 = 0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n
/** y of the eight points whose order divides 8: 1 the neutral, p - 1 of order 2, 0 the two of order 4. */
const smallOrder = new Set([0n, 1n, FIELD - 1n, Y_OF_ORDER_8, FIELD - Y_OF_ORDER_8])

export const keyBytes = 32
export const signatureBytes = 64

/** Verifies `signature` by `key` over `message`; keys and signatures are raw bytes. Never throws. */
export function verifyStrictly(
  message: Uint8Array,
  signature: Uint8Array,
  key: Uint8Array,
): boolean {
  if (!isKey(key) || signature.length !== signatureBytes) return false
  if (!isStrictPoint(signature.subarray(0, 32))) return false
  if (numberOf(signature.subarray(32)) >= ORDER) return false
  const publicKey = publicKeyOf(key)
  return publicKey !== undefined && verify(null, message, publicKey, signature)
}

/** Key object of a raw public key; undefined if it is no point. */
export function publicKeyOf(key: Uint8Array): KeyObject | undefined {
  const x = Buffer.from(key).toString('base64url')
  try {
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  } catch {
    return undefined
  }
}

/** True if raw bytes may encode a key. Not every encoding is a point; one that is not verifies nothing. */
export function isKey(bytes: Uint8Array): boolean {
  return bytes.length === keyBytes && isStrictPoint(bytes)
}

/** Decodes base64 in its canonical spelling and of this byte length, so that no bit is malleable; else undefined. */
export function fromBase64(text: string, length: number): Buffer | undefined {
  if (text.length > 4 * Math.ceil(length / 3)) return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === length && bytes.toString('base64') === text ? bytes : undefined
}

function isStrictPoint(bytes: Uint8Array): boolean {
  const y = numberOf(bytes) & (SIGN_BIT - 1n)
  return y < FIELD && !smallOrder.has(y)
}

/** Decodes little endian. */
function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes.toReversed()).toString('hex')}`)
}
