import { createPublicKey, verify, type KeyObject } from 'node:crypto'
import { checkpointStatement, type Checkpoint } from '../contract/evidence.ts'

/**
 * Why a checkpoint proves nothing; undefined when its signature is that of its key. Whose key it is, the caller
 * has to know. Signing is the warden's alone (`warden/sign.ts`).
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

/** One log has one key, so the last one is kept parsed. */
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

/** Bytes of canonical base64 alone, so that no bit of it can be changed without being seen. */
function bytesOf(text: string, length: number): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === length && bytes.toString('base64') === text ? bytes : undefined
}
