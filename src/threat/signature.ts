import { type KeyObject, sign } from 'node:crypto'
import type { JobFile, Language } from '../contract/job.ts'
import { languageOfShebang } from '../contract/shebang.ts'
import { type Envelope, envelopeFormat, type SignedLanguage } from '../contract/signature.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { fromBase64, keyBytes, signatureBytes, verifyStrictly } from '../lib/ed25519.ts'

/** Content that a signature is verified against. */
export interface Signable {
  readonly code: string
  readonly files: readonly JobFile[]
  /** Undefined: as the analysis of a job decides. In a new envelope: any. */
  readonly language?: Language | undefined
}

/**
 * True if a raw signature is valid for a raw key over the code's UTF-8 bytes, all in base64. Does not check that the
 * key is trusted. Code that has the form of an envelope statement is never valid: otherwise a signature of one kind
 * could serve as the other.
 *
 *     verifyRaw('return 1', signature, publicKey)   // true or false; throws nothing
 */
export function verifyRaw(code: string, signature: string, publicKey: string): boolean {
  const key = fromBase64(publicKey, keyBytes)
  const bytes = fromBase64(signature, signatureBytes)
  if (!key || !bytes || !isSignable(code)) return false
  return verifyStrictly(Buffer.from(code), bytes, key)
}

/** Text that a raw signature may cover. */
export function isSignable(code: string): boolean {
  return code.isWellFormed() && !code.startsWith(envelopeFormat)
}

/** Short reason why an envelope is invalid for this code at this time; undefined if valid. */
export function whyInvalid(envelope: Envelope, job: Signable, now: number): string | undefined {
  const key = fromBase64(envelope.key, keyBytes)
  const signature = fromBase64(envelope.signature, signatureBytes)
  if (!key) return 'its key is not base64 of 32 bytes'
  if (!signature) return 'its signature is not base64 of 64 bytes'
  if (!verifyStrictly(Buffer.from(envelopeStatement(envelope)), signature, key))
    return 'its key did not sign it'
  if (!job.code.isWellFormed() || digestOf(job.code) !== envelope.code) return 'it is of other code'
  const { language } = envelope
  if (language && language !== signedLanguage(job.language ?? languageOfShebang(job.code) ?? 'js'))
    return `it is of ${language}`
  const path = uncovered(envelope, job.files)
  if (path !== undefined) return `it does not cover the file "${path}"`
  const missing = leftOut(envelope, job.files)
  if (missing !== undefined) return `the job lacks the file "${missing}", which it covers`
  return whyExpired(envelope.expires, now)
}

/** Makes an envelope. `key` is a private Ed25519 key; `expires` in milliseconds since 1970, null for never. */
export function signEnvelope(
  job: Signable,
  key: KeyObject,
  { capabilities, expires }: { capabilities: readonly string[]; expires: number | null },
): Envelope {
  const files = Object.fromEntries(job.files.map((file) => [file.path, fileDigest(file)]))
  const unsigned = {
    format: envelopeFormat,
    code: digestOf(job.code),
    ...(job.language && { language: signedLanguage(job.language) }),
    ...(job.files.length > 0 && { files }),
    capabilities: [...new Set(capabilities)].sort(),
    expires: expires === null ? null : new Date(expires).toISOString(),
    key: rawPublicKey(key),
  } as const
  const signature = sign(null, Buffer.from(envelopeStatement(unsigned)), key).toString('base64')
  return { ...unsigned, signature }
}

function signedLanguage(language: Language): SignedLanguage {
  if (language === 'python' || language === 'wasm') return language
  return language === 'sh' || language === 'bash' ? 'shell' : 'javascript'
}

/** Base64 of the 32 raw bytes of a key, or of a private key's public half. */
export function rawPublicKey(key: KeyObject): string {
  const { x = '' } = key.export({ format: 'jwk' })
  return Buffer.from(x, 'base64url').toString('base64')
}

/** Signed text: the format's name on a line, then the canonical JSON of every field but the signature. */
function envelopeStatement(envelope: Omit<Envelope, 'signature'>): string {
  const { signature: _, ...statement } = envelope as Envelope
  return `${envelopeFormat}\n${canonicalJson(statement)}`
}

function uncovered({ files = {} }: Envelope, brought: readonly JobFile[]): string | undefined {
  return brought.find(
    (file) => !Object.hasOwn(files, file.path) || files[file.path] !== fileDigest(file),
  )?.path
}

/** Code may do other things without one of its files: it finds a module of that name elsewhere, or catches the error. */
function leftOut({ files = {} }: Envelope, brought: readonly JobFile[]): string | undefined {
  const paths = new Set(brought.map(({ path }) => path))
  return Object.keys(files).find((path) => !paths.has(path))
}

/** Requires the canonical date spelling, so that no two parsers read different times. */
function whyExpired(expires: string | null, now: number): string | undefined {
  if (expires === null) return undefined
  const at = Date.parse(expires)
  if (!Number.isFinite(at) || new Date(at).toISOString() !== expires)
    return 'its expiry is not written as 2030-01-31T12:00:00.000Z'
  return now < at ? undefined : `it expired at ${expires}`
}

function digestOf(data: string | Uint8Array): string {
  return `sha256:${sha256(data)}`
}

/** Digest of a plain file's bytes; other kinds have a prefix that no digest has. */
function fileDigest({ content, encoding, type = 'file', executable = false }: JobFile): string {
  const bytes = Buffer.from(content, encoding)
  if (type === 'file' && !executable) return digestOf(bytes)
  return `${type}${executable ? '+x' : ''}:${digestOf(bytes)}`
}
