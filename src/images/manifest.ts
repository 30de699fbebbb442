import { verify } from 'node:crypto'
import * as z from 'zod'
import { canonicalJson } from '../lib/canonical-json.ts'
import { fromBase64, keyBytes, publicKeyOf, signatureBytes } from '../lib/ed25519.ts'
import { sha256 } from '../lib/hash.ts'
import { imageName } from './recipe.ts'

const hex = z.string().regex(/^[0-9a-f]{64}$/)
const bytes = z.number().int().min(0)

/** An image and all its inputs. */
export const manifestSchema = z
  .strictObject({
    format: z.literal(1),
    name: imageName.describe('recipe'),
    form: z.literal('archive').optional().describe('no file system, but an archive'),
    function: z.string(),
    digest: hex.describe('SHA-256 of the image'),
    size: bytes.describe('bytes of the image'),
    suite: z.string(),
    architecture: z.string(),
    recipe: hex.optional().describe('SHA-256 of the recipe as canonical JSON'),
    origin: z
      .strictObject({
        kind: z.literal('oci'),
        manifest: hex.describe('digest of its manifest'),
        config: hex.describe('digest of its configuration'),
        layers: z.array(hex).readonly().describe('SHA-256 of each layer, as a plain tar stream'),
      })
      .readonly()
      .optional()
      .describe('where an imported image comes from'),
    packages: z
      .array(
        z
          .strictObject({ name: z.string(), version: z.string(), size: bytes, sha256: hex })
          .readonly(),
      )
      .readonly(),
    programs: z
      .array(
        z
          .strictObject({
            package: z.string(),
            version: z.string(),
            file: z.string(),
            size: bytes,
            sha256: hex,
          })
          .readonly(),
      )
      .readonly(),
    files: z.number().int().min(0).describe('files, links and folders in it'),
    unpacked: bytes.describe('bytes of its files'),
    sbom: hex.optional().describe('SHA-256 of its bill of materials, a CycloneDX document'),
    maker: z.string().describe('program that wrote the file system, with its version'),
    at: z.number().int().describe('milliseconds since 1970'),
  })
  .readonly()

export const signedManifestSchema = z
  .strictObject({ manifest: manifestSchema, key: z.string(), signature: z.string() })
  .readonly()

/** The warden's key, which signs images and their scans. */
export interface StatementSigner {
  readonly publicKey: string
  sign(statement: string): string
}

export type ImageManifest = z.infer<typeof manifestSchema>
export type SignedManifest = z.infer<typeof signedManifestSchema>

/** Signed text; its prefix is unique among the signatures of this key (domain separation). */
export function manifestStatement(manifest: ImageManifest, key: string): string {
  return `mayfly image 1\n${key}\n${sha256(canonicalJson(manifest))}\n`
}

/** Reason why a manifest is not validly signed by `trusted`; undefined if it is. Keys are raw, in base64. */
export function whyManifestUntrusted(
  { manifest, key, signature }: SignedManifest,
  trusted: string | undefined,
): string | undefined {
  return whyUntrusted({ statement: manifestStatement(manifest, key), key, signature }, trusted)
}

/** Reason why a statement is not validly signed by `trusted`; undefined if it is. */
export function whyUntrusted(
  { statement, key, signature }: Readonly<Record<'statement' | 'key' | 'signature', string>>,
  trusted: string | undefined,
): string | undefined {
  if (trusted === undefined) return 'the state folder has no key'
  if (key !== trusted) return 'it was signed by another key than that of the state folder'
  const [raw, signed] = [fromBase64(key, keyBytes), fromBase64(signature, signatureBytes)]
  const publicKey = raw && publicKeyOf(raw)
  if (!publicKey || !signed) return 'its signature is unreadable'
  return verify(null, Buffer.from(statement), publicKey, signed)
    ? undefined
    : 'its signature is wrong'
}
