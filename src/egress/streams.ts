import type { Duplex, Readable, Writable } from 'node:stream'
import type { Refused } from './head.ts'

/** Pieces that a head may come in: one that trickles in byte by byte would be read over and over. */
const piecesMax = 256

/** The next bytes of a stream; undefined when there are no more, for whatever reason. */
export async function nextChunk(stream: Readable): Promise<Buffer | undefined> {
  for (;;) {
    const chunk = stream.read() as Buffer | null
    if (chunk) return chunk
    if (stream.readableEnded || stream.destroyed) return undefined
    await settled(stream, ['readable', 'end', 'close', 'error'])
  }
}

/** Writes, and waits where the stream is full; false when it is gone. */
export async function send(stream: Writable, bytes: Buffer): Promise<boolean> {
  if (stream.destroyed || stream.writableEnded) return false
  if (!stream.write(bytes)) await settled(stream, ['drain', 'close', 'error'])
  return !stream.destroyed
}

/** Copies what `may` lets pass, or makes of it, until the end, and ends the other side then. */
export async function pass(
  from: Duplex,
  to: Duplex,
  may: (chunk: Buffer) => Buffer | undefined,
): Promise<void> {
  for (;;) {
    const chunk = await nextChunk(from)
    if (!chunk) return void to.end()
    const own = may(chunk)
    if (!own || (own.length > 0 && !(await send(to, own)))) return
  }
}

export type Taken<T> = { readonly value: T; readonly bytes: Buffer } | Refused | undefined

/**
 * Collects bytes until `read` has what it looks for, and answers that with all bytes there were; undefined when the
 * stream ends before.
 */
export async function takeFrom<T extends { readonly kind: string }>(
  stream: Duplex,
  read: (bytes: Buffer) => T | { readonly kind: 'more' } | Refused,
  first: Buffer = Buffer.alloc(0),
): Promise<Taken<Exclude<T, { kind: 'more' | 'refused' }>>> {
  let bytes = first
  for (let pieces = 0; ; pieces++) {
    const found = bytes.length > 0 ? read(bytes) : { kind: 'more' as const }
    if (found.kind === 'refused') return found as Refused
    if (found.kind !== 'more')
      return { value: found as Exclude<T, { kind: 'more' | 'refused' }>, bytes }
    if (pieces === piecesMax)
      return { kind: 'refused', status: 400, because: 'it comes in too many pieces' }
    const chunk = await nextChunk(stream)
    if (!chunk) return undefined
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
  }
}

function settled(stream: Readable | Writable, names: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const name of names) stream.off(name, done)
      resolve()
    }
    for (const name of names) stream.on(name, done)
  })
}
