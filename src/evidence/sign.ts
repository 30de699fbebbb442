import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { checkpointStatement, type Checkpoint } from '../contract/evidence.ts'

/**
 * Reason why a checkpoint is not validly signed by its key; undefined if it is. The caller must check whose key it
 * is. Signing is in the warden only (`warden/sign.ts`).
 */
export function whyNotSigned(checkpoint: Checkpoint): string | undefined {
  const key = publicKeyOf(checkpoint.key)
  if (!key) return 'its key is no Ed25519 public key'
  const signature = bytesOf(checkpoint.signature, 64)
  const statement = Buffer.from(checkpointStatement(checkpoint))
  const good = signature && verify(null, statement, key, signature)
  return good ? undefined : 'its signature is wrong'
}

let lastKey: { readonly text: string; readonly key: KeyObject | undefined } | undefined

/** Caches the last parsed key: a log has one. */
function publicKeyOf(text: string): KeyObject | undefined {
  if (lastKey?.text !== text) lastKey = { text, key: parseKey(text) }
  return lastKey.key
}

function parseKey(text: string): KeyObject | undefined {
  const raw = bytesOf(text, 32)
  if (!raw) return undefined
  try {
    const x = raw.toString('base64url')
    return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  } catch {
    return undefined
  }
}

/** Accepts canonical base64 only, so that no bit is malleable. */
function bytesOf(text: string, length: number): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === length && bytes.toString('base64') === text ? bytes : undefined
}
