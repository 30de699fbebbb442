import { verify, type KeyObject } from 'node:crypto'
import { checkpointStatement, type Checkpoint } from '../contract/evidence.ts'
import { fromBase64, keyBytes, publicKeyOf, signatureBytes } from '../lib/ed25519.ts'

/**
 * Reason why a checkpoint is not validly signed by its key; undefined if it is. The caller must check whose key it
 * is. Signing is in the warden only (`warden/sign.ts`).
 */
export function whyNotSigned(checkpoint: Checkpoint): string | undefined {
  const key = keyOf(checkpoint.key)
  if (!key) return 'its key is no Ed25519 public key'
  const signature = fromBase64(checkpoint.signature, signatureBytes)
  const statement = Buffer.from(checkpointStatement(checkpoint))
  const good = signature && verify(null, statement, key, signature)
  return good ? undefined : 'its signature is wrong'
}

let lastKey: { readonly text: string; readonly key: KeyObject | undefined } | undefined

/** Caches the last parsed key: a log has one. */
function keyOf(text: string): KeyObject | undefined {
  if (lastKey?.text === text) return lastKey.key
  const raw = fromBase64(text, keyBytes)
  lastKey = { text, key: raw && publicKeyOf(raw) }
  return lastKey.key
}
