import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'

/** Hashes in chunks. Rejects with the error of the file system. */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 }))
    hash.update(chunk as Buffer)
  return hash.digest('hex')
}
