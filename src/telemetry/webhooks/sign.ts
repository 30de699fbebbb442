import { createHmac, createPrivateKey, sign, type KeyObject } from 'node:crypto'
import { attempt } from '../../lib/attempt.ts'

/**
 * Signs as in Standard Webhooks (standardwebhooks.com): the signed text is `id.timestamp.body`, so a receiver can
 * refuse replays. `v1` is HMAC-SHA256 with a shared secret, `v1a` is Ed25519.
 */
export interface WebhookSigner {
  /** Value of the `webhook-signature` header; `seconds` since 1970. */
  sign(id: string, seconds: number, body: string): string
}

const secretBytesMin = 24
const secretBytesMax = 64

/** Parses a secret: `whsec_` and base64, or an Ed25519 private key as PEM. Throws RangeError otherwise. */
export function readSigner(text: string): WebhookSigner {
  const secret = text.trim()
  const signature = signatureBy(secret)
  return { sign: (id, seconds, body) => signature(`${id}.${seconds}.${body}`) }
}

function signatureBy(secret: string): (text: string) => string {
  if (secret.startsWith('whsec_')) {
    const key = secretOf(secret.slice('whsec_'.length))
    return (text) => `v1,${createHmac('sha256', key).update(text).digest('base64')}`
  }
  if (secret.startsWith('-----BEGIN ')) {
    const key = keyOf(secret)
    return (text) => `v1a,${sign(null, Buffer.from(text), key).toString('base64')}`
  }
  throw new RangeError('expected "whsec_" and base64, or an Ed25519 private key as PEM')
}

function secretOf(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  const isBase64 = bytes.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '')
  if (isBase64 && bytes.length >= secretBytesMin && bytes.length <= secretBytesMax) return bytes
  throw new RangeError(
    `expected ${secretBytesMin} to ${secretBytesMax} bytes as base64 after "whsec_"`,
  )
}

function keyOf(pem: string): KeyObject {
  const key = attempt(() => createPrivateKey(pem))
  if (key?.asymmetricKeyType === 'ed25519') return key
  throw new RangeError('expected an Ed25519 private key without a passphrase')
}
