import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'

/** Hashes in chunks. Rejects with the error of the file system. */
export async function fileSha256(path: string): Promise<string> {
  return await sha256Of(createReadStream(path, { highWaterMark }))
}

/** From the start of the file; its handle stays open, and its position where it was. */
export async function sha256OfHandle(file: FileHandle): Promise<string> {
  return await sha256Of(file.createReadStream({ start: 0, autoClose: false, highWaterMark }))
}

const highWaterMark = 2 ** 20

async function sha256Of(bytes: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of bytes) hash.update(chunk)
  return hash.digest('hex')
}
