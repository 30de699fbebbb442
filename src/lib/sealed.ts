import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'

const algorithm = 'aes-256-gcm'
const nonceBytes = 12
const tagBytes = 16

/**
 * Encrypts and authenticates bytes with a key of 32 bytes: nonce, tag, ciphertext. `place` is the associated data, so that
 * bytes moved to another place cannot be opened there.
 */
export function seal(key: Uint8Array, place: string, bytes: Uint8Array): Buffer {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv(algorithm, key, nonce).setAAD(Buffer.from(place))
  const text = [cipher.update(bytes), cipher.final()]
  return Buffer.concat([nonce, cipher.getAuthTag(), ...text])
}

/** Throws Error for anything that `seal` did not make with this key for this place. */
export function unseal(key: Uint8Array, place: string, sealed: Uint8Array): Buffer {
  const begin = nonceBytes + tagBytes
  const nonce = sealed.subarray(0, nonceBytes)
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagBytes })
  decipher.setAAD(Buffer.from(place)).setAuthTag(sealed.subarray(nonceBytes, begin))
  return Buffer.concat([decipher.update(sealed.subarray(begin)), decipher.final()])
}
