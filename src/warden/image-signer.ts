import { sign } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { keyFile, openKey, rawPublicHalf } from './sign.ts'

/** Signs manifests of images with the key of the state folder, which also signs the record's checkpoints. */
export interface ImageSigner {
  /** Base64 of the 32 raw bytes. */
  readonly publicKey: string
  /** Signature of a text that begins with `mayfly image 1` or `mayfly image scan 1`, in base64. */
  sign(statement: string): string
}

const prefixes = ['mayfly image 1\n', 'mayfly image scan 1\n']

/** Makes the key on first use. Throws MayflyError STATE. */
export function openImageSigner(folder: string): ImageSigner {
  const key = openKey(folder)
  return {
    publicKey: rawPublicHalf(key),
    sign(statement) {
      // Any other text could be a checkpoint.
      if (!prefixes.some((one) => statement.startsWith(one)))
        throw new RangeError('the statement is not about an image')
      return sign(null, Buffer.from(statement), key).toString('base64')
    },
  }
}

/** Public key in base64; undefined if there is none. Creates no file. */
export function imageKey(folder: string): string | undefined {
  return existsSync(join(folder, keyFile)) ? rawPublicHalf(openKey(folder)) : undefined
}
