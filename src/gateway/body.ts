import type { IncomingMessage, ServerResponse } from 'node:http'
import { MayflyError } from '../contract/error.ts'
import { jsonOfMsgpack, MsgpackError } from '../lib/msgpack.ts'
import { readStrictJson, StrictJsonError, type StrictJson } from '../lib/strict-json.ts'
import type { GatewayLimits } from './limits.ts'

const DEPTH_MAX = 64

/** Requests whose client waits to be told to send its body; see `readBody`. */
export const waiting = new WeakSet<IncomingMessage>()

/** Reads request bodies, within a bound for each and one for all that are being read. */
export class Bodies {
  readonly #limits: Pick<GatewayLimits, 'bodyBytes' | 'bodiesBytes' | 'bodyMs'>
  #held = 0

  constructor(limits: Pick<GatewayLimits, 'bodyBytes' | 'bodiesBytes' | 'bodyMs'>) {
    this.#limits = limits
  }

  /** Bytes held for bodies that are being read. */
  get held(): number {
    return this.#held
  }

  /** Reads a JSON body; `keep` as in readStrictJson. Throws MayflyError, having read no more than the bound. */
  async json(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    keep: string,
  ): Promise<StrictJson> {
    const type = typeOf(incoming)
    const bytes = await this.#read(incoming, outgoing)
    return parseBody(type === 'json' ? bytes : this.#fromMsgpack(bytes), keep)
  }

  #fromMsgpack(bytes: Buffer): Buffer {
    const options = { depthMax: DEPTH_MAX, charsMax: this.#limits.bodyBytes }
    try {
      return Buffer.from(jsonOfMsgpack(bytes, options))
    } catch (thrown) {
      throw thrown instanceof MsgpackError ? notMsgpack(thrown) : thrown
    }
  }

  /** Counts bytes that are being read elsewhere: `add` throws MayflyError OVERLOADED beyond the bound for all. */
  hold(): Holding {
    let length = 0
    return {
      add: (bytes) => {
        length += bytes
        this.#held += bytes
        if (this.#held > this.#limits.bodiesBytes) throw busy()
      },
      [Symbol.dispose]: () => {
        this.#held -= length
        length = 0
      },
    }
  }

  async #read(incoming: IncomingMessage, outgoing: ServerResponse): Promise<Buffer> {
    const { bodyBytes } = this.#limits
    if (Number(incoming.headers['content-length'] ?? 0) > bodyBytes) throw tooLarge(bodyBytes)
    if (waiting.delete(incoming)) outgoing.writeContinue()
    const chunks: Buffer[] = []
    let length = 0

    using held = this.hold()
    for await (const chunk of this.#chunks(incoming)) {
      length += chunk.length
      if (length > bodyBytes) throw tooLarge(bodyBytes)
      held.add(chunk.length)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, length)
  }

  /** Chunks as they come, until the time for all of them is over. Leaves the connection to be answered on. */
  async *#chunks(incoming: IncomingMessage): AsyncGenerator<Buffer> {
    const late = Promise.withResolvers<never>()
    late.promise.catch(() => undefined)
    const timer = setTimeout(() => late.reject(slow()), this.#limits.bodyMs)
    const chunks = incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>
    try {
      for (;;) {
        const next = await Promise.race([chunks.next(), late.promise])
        if (next.done) return
        yield next.value
      }
    } catch (thrown) {
      throw thrown instanceof MayflyError ? thrown : cut(thrown)
    } finally {
      clearTimeout(timer)
    }
  }
}

export interface Holding extends Disposable {
  add(bytes: number): void
}

/** Reads bytes as a JSON body; `keep` as in readStrictJson. Throws MayflyError SYNTAX. */
export function parseBody(bytes: Uint8Array, keep: string): StrictJson {
  try {
    return readStrictJson(bytes, { depthMax: DEPTH_MAX, keep })
  } catch (thrown) {
    throw thrown instanceof StrictJsonError ? notJson(thrown) : thrown
  }
}

function typeOf(incoming: IncomingMessage): 'json' | 'msgpack' {
  const type = incoming.headers['content-type'] ?? ''
  const encoding = incoming.headers['content-encoding'] ?? 'identity'
  if (encoding === 'identity') {
    if (/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) return 'json'
    if (/^application\/msgpack\s*$/i.test(type)) return 'msgpack'
  }
  throw new MayflyError(
    'UNSUPPORTED_MEDIA_TYPE',
    'Cannot read this kind of body: send application/json in UTF-8, or application/msgpack',
  )
}

function notMsgpack({ message, offset }: MsgpackError): MayflyError {
  const text = `Cannot read the body as MessagePack: ${message} at byte ${offset}`
  return new MayflyError('SYNTAX', text, { details: { offset } })
}

function notJson(error: StrictJsonError): MayflyError {
  const { offset, path } = error
  const where = offset === undefined ? '' : ` at byte ${offset}`
  const details = { ...(offset === undefined ? {} : { offset }), ...(path ? { path } : {}) }
  return new MayflyError('SYNTAX', `Cannot read the body as JSON: ${error.message}${where}`, {
    details,
  })
}

function tooLarge(bytesMax: number): MayflyError {
  return new MayflyError('TOO_LARGE', `Cannot take a body of more than ${bytesMax} bytes`, {
    details: { bytesMax },
  })
}

function busy(): MayflyError {
  return new MayflyError('OVERLOADED', 'Cannot read another body now', { retryAfterMs: 1000 })
}

function slow(): MayflyError {
  return new MayflyError('REQUEST_TIMEOUT', 'Cannot wait any longer for the body')
}

function cut(thrown: unknown): MayflyError {
  return new MayflyError('SYNTAX', 'Cannot read the body: it was cut off', { cause: thrown })
}
