import { Readable, type Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { checkedPath } from './entry-path.ts'
import { TarReader } from './tar.ts'

export interface PlainTar {
  /** Limits of entries, and of the bytes of the stream. */
  readonly entriesMax: number
  readonly bytesMax: number
  file(name: string, size: number): void
  /** Bytes of the file before. */
  data(bytes: Uint8Array): void
}

/** Reads an archive of files and folders. Throws RangeError for links, duplicate or unsafe paths, and beyond a limit. */
export async function readPlainTar(
  source: AsyncIterable<Buffer>,
  { entriesMax, bytesMax, file, data }: PlainTar,
): Promise<void> {
  const seen = new Set<string>()
  const reader = new TarReader(
    {
      entry({ kind, path, size }) {
        const name = checkedPath(path)
        if (kind === 'folder') return
        if (kind !== 'file') throw new RangeError(`${JSON.stringify(name)} is a link`)
        if (seen.has(name)) throw new RangeError(`it has ${JSON.stringify(name)} twice`)
        seen.add(name)
        file(name, size)
      },
      data,
    },
    { pax: true, entriesMax },
  )
  let total = 0
  for await (const chunk of source) {
    total += chunk.length
    if (total > bytesMax) throw new RangeError(`it has more than ${bytesMax} bytes`)
    reader.push(chunk)
  }
  reader.end()
}

/** Selects the decompressor by the first bytes of a file. */
export function inflaterOf(head: Uint8Array): Transform | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return createGunzip()
  const isZstd = head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd
  return isZstd ? createZstdDecompress() : undefined
}

/** Reads a stream through its decompressor, if it has one. */
export async function readInflated(
  pieces: Iterable<Buffer> | AsyncIterable<Buffer>,
  inflate: Transform | undefined,
  read: (source: AsyncIterable<Buffer>) => Promise<void>,
): Promise<void> {
  const source = Readable.from(pieces)
  await (inflate ? pipeline(source, inflate, read) : pipeline(source, read))
}
