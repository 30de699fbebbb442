import { pipeline } from 'node:stream/promises'
import { createReadStream, createWriteStream, writeFileSync, statSync } from 'node:fs'
import { createGzip } from 'node:zlib'

/** A large file through a pipeline. */
export default async () => {
  writeFileSync('lines.txt', 'a line of text that is like the others\n'.repeat(100_000))
  await pipeline(createReadStream('lines.txt'), createGzip(), createWriteStream('lines.txt.gz'))
  return statSync('lines.txt.gz').size < statSync('lines.txt').size
}
