import type { Duplex, Readable, Writable } from 'node:stream'
import { anyEvent } from '../lib/any-event.ts'
import type { EgressRefusal } from './http-head.ts'

/** Limit of chunks for one head: each chunk parses it again from the start. */
const piecesMax = 256

/** Next chunk; undefined at the end of the stream, after an error too. */
export async function nextChunk(stream: Readable): Promise<Buffer | undefined> {
  for (;;) {
    const chunk = stream.read() as Buffer | null
    if (chunk) return chunk
    if (stream.readableEnded || stream.destroyed) return undefined
    await anyEvent(stream, ['readable', 'end', 'close', 'error'])
  }
}

/** Writes with back-pressure; false if the stream is gone. */
export async function send(stream: Writable, bytes: Buffer): Promise<boolean> {
  if (stream.destroyed || stream.writableEnded) return false
  if (!stream.write(bytes)) await anyEvent(stream, ['drain', 'close', 'error'])
  return !stream.destroyed
}

/** Copies chunks through `may`, which filters or rewrites them, then ends the other side. */
export async function copyStream(
  from: Duplex,
  to: Duplex,
  may: (chunk: Buffer) => Buffer | undefined | Promise<Buffer | undefined>,
): Promise<void> {
  for (;;) {
    const chunk = await nextChunk(from)
    if (!chunk) return void to.end()
    const own = await may(chunk)
    if (!own || (own.length > 0 && !(await send(to, own)))) return
  }
}

export type ParsedInput<T> =
  | { readonly value: T; readonly bytes: Buffer }
  | EgressRefusal
  | undefined

/**
 * Buffers input until `read` succeeds, and returns its value with all bytes consumed; undefined if the stream ends
 * first.
 */
export async function readUntilParsed<T extends { readonly kind: string }>(
  stream: Duplex,
  read: (bytes: Buffer) => T | { readonly kind: 'more' } | EgressRefusal,
  first: Buffer = Buffer.alloc(0),
): Promise<ParsedInput<Exclude<T, { kind: 'more' | 'refused' }>>> {
  let bytes = first
  for (let pieces = 0; ; pieces++) {
    const found = bytes.length > 0 ? read(bytes) : { kind: 'more' as const }
    if (found.kind === 'refused') return found as EgressRefusal
    if (found.kind !== 'more')
      return { value: found as Exclude<T, { kind: 'more' | 'refused' }>, bytes }
    if (pieces === piecesMax)
      return { kind: 'refused', status: 400, because: 'its head arrives in too many pieces' }
    const chunk = await nextChunk(stream)
    if (!chunk) return undefined
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
  }
}
