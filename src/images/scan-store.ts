import { lstatSync, readFileSync } from 'node:fs'
import * as z from 'zod'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import { whyUntrusted, type StatementSigner } from './manifest.ts'
import { scanSchema, type ImageScan } from './scan.ts'
import { storeFile, type ImageStore } from './store.ts'

const signedScanSchema = z
  .strictObject({ scan: scanSchema, key: z.string(), signature: z.string() })
  .readonly()

const scanBytesMax = 2 ** 26

/** Newest scan of an image, or the reason why there is no valid one. */
export type StoredScan =
  | { readonly kind: 'scan'; readonly scan: ImageScan }
  | { readonly kind: 'missing' }
  | { readonly kind: 'broken'; readonly because: string }

/** Signs a scan and stores it in place of the previous one. */
export function storeScan(store: ImageStore, scan: ImageScan, signer: StatementSigner): void {
  const key = signer.publicKey
  const signature = signer.sign(scanStatement(scan, key))
  const text = `${JSON.stringify({ scan, key, signature })}\n`
  store.put({ kind: 'scans', name: scan.image }, text)
}

/** Reads and validates a scan: schema, signature by `key`, and the digest of its image. */
export function readScan(folder: string, image: string, key: string | undefined): StoredScan {
  const file = storeFile(folder, { kind: 'scans', name: image })
  const stats = lstatSync(file, { throwIfNoEntry: false })
  if (!stats) return { kind: 'missing' }
  const broken = (because: string): StoredScan => ({ kind: 'broken', because })
  if (!stats.isFile() || stats.size > scanBytesMax) return broken('it is not a small regular file')
  const read = signedScanSchema.safeParse(tryParseJson(readFileSync(file, 'utf8')))
  if (!read.success) return broken('it is malformed')
  const { scan, signature } = read.data
  const statement = scanStatement(scan, read.data.key)
  const why = whyUntrusted({ statement, key: read.data.key, signature }, key)
  if (why) return broken(why)
  return scan.image === image ? { kind: 'scan', scan } : broken('it belongs to another image')
}

/** Signed text; its prefix is unique among the signatures of this key (domain separation). */
function scanStatement(scan: ImageScan, key: string): string {
  return `mayfly image scan 1\n${key}\n${sha256(canonicalJson(scan))}\n`
}
