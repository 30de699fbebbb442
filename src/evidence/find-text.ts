import { Readable } from 'node:stream'
import { createZstdDecompress } from 'node:zlib'
import { MayflyError, messageOf } from '../contract/error.ts'

/** Match of a text in a captured part. */
export interface TextFound {
  /** Offset in the part, decompressed if its name ends in `.zst`. */
  readonly offset: number
  readonly encoding: 'utf-8' | 'utf-16le'
  /** Untrusted surrounding bytes: must be sanitised before they are printed. */
  readonly context: string
}

interface Needle {
  readonly encoding: TextFound['encoding']
  readonly bytes: Buffer
}

export const findTextMax = 1_024
const contextBytes = 24
/** Size limit of a decompressed part. */
const bytesMax = 8 * 2 ** 30

/**
 * Finds a text in the bytes of a part, as UTF-8 and as UTF-16LE, because engines store strings in both; matches are in order within
 * a piece. Reads piece by piece, so a part may be larger than memory; a match across two pieces is found. Throws MayflyError
 * INVALID for a text that is empty or longer than `findTextMax` characters, STATE for a part that cannot be decompressed, and
 * read errors.
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
      // Fewer bytes than the text are carried over, so each match is found once.
      needle.carried = window.subarray(Math.max(0, window.length - needle.bytes.length + 1))
    }
    read += piece.length
  }
}

function* placesOf(wanted: Buffer, window: Buffer): Generator<number> {
  for (let at = window.indexOf(wanted); at >= 0; at = window.indexOf(wanted, at + 1)) yield at
}

/** Cuts the context before a match at a UTF-16 code unit. */
function contextOf(window: Buffer, at: number, { bytes, encoding }: Needle): string {
  const before = Math.min(contextBytes, encoding === 'utf-8' ? at : at - (at % 2))
  return window.toString(encoding, at - before, at + bytes.length + contextBytes)
}

async function* plainBytes(part: Parameters<typeof findText>[0]): AsyncGenerator<Uint8Array> {
  if (!part.name.endsWith('.zst')) return yield* part.bytes
  const source = Readable.from(part.bytes, { objectMode: false })
  const plain = createZstdDecompress()
  // An error of the source takes precedence.
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
