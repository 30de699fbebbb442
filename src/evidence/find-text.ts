import { Readable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import { MayflyError, messageOf } from '../contract/error.ts'

/** Place of a text in a captured part. */
export interface TextFound {
  /** Bytes from the start of the part, decompressed where its name ends in `.zst`. */
  readonly offset: number
  readonly encoding: 'utf-8' | 'utf-16le'
  /** Bytes around it, hostile: to be sanitised before a terminal sees them. */
  readonly context: string
}

interface Needle {
  readonly encoding: TextFound['encoding']
  readonly bytes: Buffer
}

export const findTextMax = 1_024
const contextBytes = 24
/** Bound of what a compressed part may become. */
const bytesMax = 8 * 2 ** 30

/**
 * Places of a text in the bytes of a part, in order within a piece, as UTF-8 and as UTF-16LE: engines keep strings in both. Reads
 * piece by piece, so a part may be larger than memory; a text across two pieces is found. Throws MayflyError INVALID for a
 * text that is empty or longer than `findTextMax` characters, STATE for a compressed part that cannot be decompressed, and what
 * the reading throws.
 */
export async function* findText(
  part: { readonly name: string; readonly bytes: AsyncIterable<Uint8Array> },
  text: string,
): AsyncGenerator<TextFound> {
  if (text === '' || text.length > findTextMax)
    throw new MayflyError('INVALID', `Cannot search: a text has 1 to ${findTextMax} characters`)
  const needles = (['utf-8', 'utf-16le'] as const).map((encoding) => ({
    encoding,
    bytes: Buffer.from(text, encoding),
    carried: Buffer.alloc(0),
  }))
  let read = 0
  for await (const piece of plainBytes(part)) {
    for (const needle of needles) {
      const window = Buffer.concat([needle.carried, piece])
      const start = read - needle.carried.length
      for (const at of placesOf(needle.bytes, window))
        yield {
          offset: start + at,
          encoding: needle.encoding,
          context: contextOf(window, at, needle),
        }
      // Fewer bytes than the text are carried, so a place is found once.
      needle.carried = window.subarray(Math.max(0, window.length - needle.bytes.length + 1))
    }
    read += piece.length
  }
}

function* placesOf(wanted: Buffer, window: Buffer): Generator<number> {
  for (let at = window.indexOf(wanted); at >= 0; at = window.indexOf(wanted, at + 1)) yield at
}

/** Whole code units of UTF-16 alone before the text. */
function contextOf(window: Buffer, at: number, { bytes, encoding }: Needle): string {
  const before = Math.min(contextBytes, encoding === 'utf-8' ? at : at - (at % 2))
  return window.toString(encoding, at - before, at + bytes.length + contextBytes)
}

async function* plainBytes(part: Parameters<typeof findText>[0]): AsyncGenerator<Uint8Array> {
  if (!part.name.endsWith('.zst')) return yield* part.bytes
  const source = Readable.from(part.bytes, { objectMode: false })
  const plain = createZstdDecompress()
  // The cause of a source that fails is the one to tell.
  source.once('error', (error) => plain.destroy(error))
  let read = 0
  try {
    for await (const piece of source.pipe(plain) as AsyncIterable<Buffer>) {
      read += piece.length
      if (read > bytesMax)
        throw new MayflyError('TOO_LARGE', `Cannot search "${part.name}": over ${bytesMax} bytes`)
      yield piece
    }
  } catch (cause) {
    if (cause instanceof MayflyError) throw cause
    throw new MayflyError('STATE', `Cannot decompress "${part.name}": ${messageOf(cause)}`, {
      cause,
    })
  } finally {
    source.destroy()
    plain.destroy()
  }
}
