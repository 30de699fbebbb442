import { statSync } from 'node:fs'
import { sha256 } from '../lib/hash.ts'
import type { ImageEntry } from './canonical-tar.ts'
import {
  manifestStatement,
  type ImageManifest,
  type StatementSigner,
  type SignedManifest,
} from './manifest.ts'
import type { ImageStore } from './store.ts'

/** A finished image in the scratch folder of the store. */
export interface FinishedImage {
  readonly file: string
  readonly entries: readonly ImageEntry[]
  /** Text of its bill of materials; undefined if it has none. */
  readonly sbom: string | undefined
  readonly tags: readonly string[]
  readonly store: ImageStore
  readonly signer: StatementSigner
}

type Measured = 'format' | 'size' | 'files' | 'unpacked' | 'sbom'

/** Signs the manifest of an image, and adds it to the store. */
export function addImage(
  { file, entries, sbom, tags, store, signer }: FinishedImage,
  about: Omit<ImageManifest, Measured>,
): SignedManifest {
  const manifest: ImageManifest = {
    format: 1,
    ...about,
    size: statSync(file).size,
    files: entries.length,
    unpacked: entries.reduce((sum, [, node]) => sum + (node.kind === 'file' ? node.size : 0), 0),
    ...(sbom !== undefined && { sbom: sha256(sbom) }),
  }
  const key = signer.publicKey
  const signed = { manifest, key, signature: signer.sign(manifestStatement(manifest, key)) }
  store.add(file, signed, { tags, ...(sbom !== undefined && { sbom }) })
  return signed
}
