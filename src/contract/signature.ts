import * as z from 'zod'
import type { ErrorCode } from './error.ts'
import type { OutcomeError } from './outcome-error.ts'

/**
 * A signer's statement about code: its bytes, its language, its files, its maximum grants and its expiry. The
 * signed text is `envelopeStatement`; digests are `sha256:` and lower-case hex, `key` and
 * `signature` base64 of raw bytes.
 */
export const envelopeFormat = 'mayfly-signature/1'

const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'expected "sha256:" and 64 hex digits')

/** Digest of a file; an executable, a folder or a link has its kind as prefix. */
const fileDigest = z
  .string()
  .regex(
    /^(?:file\+x:|folder:|link:)?sha256:[0-9a-f]{64}$/,
    'expected "sha256:" and 64 hex digits, behind "file+x:", "folder:" or "link:" where it is no plain file',
  )

/** Languages as a signature binds them: analysis chooses among `js`, `ts` and `node`, and a shebang between shells. */
const signedLanguages = ['javascript', 'python', 'shell', 'wasm'] as const
export type SignedLanguage = (typeof signedLanguages)[number]

export const envelopeSchema = z
  .strictObject({
    format: z.literal(envelopeFormat),
    code: digest.describe('SHA-256 of the UTF-8 text of the code'),
    files: z
      .record(z.string().min(1).max(1024), fileDigest)
      .refine((files) => Object.keys(files).length <= 2000, 'expected at most 2000 files')
      .optional()
      .describe('SHA-256 of each file of the job, by path'),
    language: z.enum(signedLanguages).optional().describe('language of the code; without it, any'),
    capabilities: z
      .array(z.string().min(1).max(200))
      .max(1000)
      .readonly()
      .describe('upper limit of its grants: "network", names of capabilities'),
    expires: z
      .string()
      .max(40)
      .nullable()
      .describe('expiry, such as 2030-01-31T12:00:00.000Z; null: never'),
    key: z.string().max(100),
    signature: z.string().max(200),
  })
  .readonly()

export type Envelope = z.output<typeof envelopeSchema>

/** Maximum signatures of a job. */
export const envelopesMax = 16

/** An envelope, several of them, or base64 of the raw Ed25519 signature over the code's UTF-8 bytes. */
export const signatureAsked = z.union(
  [z.string().max(200), envelopeSchema, z.array(envelopeSchema).min(1).max(envelopesMax)],
  { error: 'expected an envelope as "mayfly keys sign" makes it, a list of them, or base64' },
)
export const publicKeyAsked = z.string().max(100)

export type SignatureAsked = z.output<typeof signatureAsked>

/** Result of verifying a job's signatures, before any of its code is parsed. */
export type Signed =
  | { readonly kind: 'unsigned' }
  | {
      readonly kind: 'valid'
      /** Base64 of the raw keys, sorted. */
      readonly keys: readonly string[]
      /** Intersection of the signers' grants; undefined if none restricts it. */
      readonly capabilities?: readonly string[]
    }
  | { readonly kind: 'refused'; readonly error: OutcomeError & { readonly code: ErrorCode } }
