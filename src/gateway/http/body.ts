import type { IncomingMessage, ServerResponse } from 'node:http'
import { MayflyError } from '../../contract/error.ts'
import { jsonOfMsgpack, MsgpackError } from '../../lib/msgpack.ts'
import { readStrictJson, StrictJsonError, type StrictJson } from '../../lib/strict-json.ts'
import { LoopLimiter } from '../../lib/loop-limiter.ts'
import { BodyDeadline } from './body-deadline.ts'
import { SenderShares, anonymousName, isAnonymous } from './sender-shares.ts'
import type { GatewayLimits } from './limits.ts'
import { clientGroup } from './client-address.ts'

const DEPTH_MAX = 64

/** Requests with `Expect: 100-continue` that have not been answered yet; see `#read`. */
export const awaitingContinue = new WeakSet<IncomingMessage>()

type BodyLimits = Pick<
  GatewayLimits,
  'bodyBytes' | 'bodiesBytes' | 'anonymousBodyBytes' | 'anonymousBodiesBytes' | 'bodyMs'
>

interface BodyUse<T> {
  readonly keep: string
  readonly of: string
  readonly use: (body: StrictJson) => T
}

/** All unauthenticated senders share the time of one tenant. */
const anonymous = anonymousName('')
const SENDERS_MAX = 10_000

/**
 * Reads request bodies within a limit for each and a shared one, split fairly between senders. Parsing blocks the
 * event loop for all clients, so each sender also has a time share of it and queues beyond that.
 */
export class RequestBodies {
  readonly #limits: BodyLimits
  readonly #held: SenderShares
  readonly #turns = new Map<string, LoopLimiter>()

  constructor(limits: BodyLimits) {
    this.#limits = limits
    this.#held = new SenderShares(limits.bodiesBytes, limits.anonymousBodiesBytes)
  }

  /** Bytes buffered for bodies still being read. */
  get held(): number {
    return this.#held.total
  }

  /**
   * Reads a JSON body of a tenant, or of `anonymousAt` an address; `keep` as in readStrictJson. Reads no byte beyond the limit.
   * Throws MayflyError.
   */
  async json(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    keep: string,
    of: string,
  ): Promise<StrictJson> {
    return await this.jsonAs(incoming, outgoing, { keep, of, use: (body) => body })
  }

  /** Reads as `json` does, and uses the body in the same turn: checking a large one blocks the event loop like parsing it. */
  async jsonAs<T>(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    { keep, of, use }: BodyUse<T>,
  ): Promise<T> {
    const type = typeOf(incoming)
    using held = this.hold(of)
    const bytes = await this.#read(incoming, outgoing, held, this.bytesMax(of))
    return await this.turn(of, () =>
      use(parseBody(type === 'json' ? bytes : this.#fromMsgpack(bytes), keep)),
    )
  }

  /** Reads a body of any type within the same limits, which count it until `use` is done. Throws MayflyError. */
  async bytes<T>(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    of: string,
    use: (bytes: Buffer) => Promise<T>,
  ): Promise<T> {
    using held = this.hold(of)
    return await use(await this.#read(incoming, outgoing, held, this.bytesMax(of)))
  }

  /** Byte limit of one body. */
  bytesMax(of: string): number {
    const { bodyBytes, anonymousBodyBytes } = this.#limits
    return isAnonymous(of) ? Math.min(bodyBytes, anonymousBodyBytes) : bodyBytes
  }

  /** Runs work that blocks the event loop, in a queue that is fair between senders; light senders do not wait. */
  async turn<T>(of: string, work: () => T): Promise<T> {
    const name = isAnonymous(of) ? anonymous : of
    const turns = this.#turns.get(name) ?? new LoopLimiter()
    this.#turns.delete(name)
    this.#turns.set(name, turns)
    if (this.#turns.size > SENDERS_MAX) this.#turns.delete(this.#turns.keys().next().value!)
    return (await turns.run(work, () => true)) as T
  }

  #fromMsgpack(bytes: Buffer): Buffer {
    const options = { depthMax: DEPTH_MAX, charsMax: this.#limits.bodyBytes }
    try {
      return Buffer.from(jsonOfMsgpack(bytes, options))
    } catch (thrown) {
      throw thrown instanceof MsgpackError ? notMsgpack(thrown) : thrown
    }
  }

  /** Counts bytes buffered elsewhere: `add` throws MayflyError OVERLOADED beyond the shared limit. */
  hold(of: string): ByteReservation {
    const hold = this.#held.hold(of)
    return {
      add(bytes) {
        if (!hold.add(bytes)) throw busy()
      },
      [Symbol.dispose]: () => hold[Symbol.dispose](),
    }
  }

  async #read(
    incoming: IncomingMessage,
    outgoing: ServerResponse,
    held: ByteReservation,
    bodyBytes: number,
  ): Promise<Buffer> {
    refuseEncoded(incoming)
    if (Number(incoming.headers['content-length'] ?? 0) > bodyBytes) throw tooLarge(bodyBytes)
    if (awaitingContinue.delete(incoming)) outgoing.writeContinue()
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of this.#chunks(incoming)) {
      length += chunk.length
      if (length > bodyBytes) throw tooLarge(bodyBytes)
      held.add(chunk.length)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks, length)
  }

  /** Yields chunks until the body deadline. Keeps the socket open for the answer. */
  async *#chunks(incoming: IncomingMessage): AsyncGenerator<Buffer> {
    const late = Promise.withResolvers<never>()
    late.promise.catch(() => undefined)
    const chunks = incoming.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>

    using deadline = new BodyDeadline(this.#limits.bodyMs, () => late.reject(slow()))
    try {
      for (;;) {
        const next = await Promise.race([chunks.next(), late.promise])
        if (next.done) return
        deadline.received(next.value.length)
        yield next.value
      }
    } catch (thrown) {
      throw thrown instanceof MayflyError ? thrown : cut(thrown)
    }
  }
}

/** Sender name before authentication: that of its address. */
export function anonymousAt(incoming: Pick<IncomingMessage, 'socket'>): string {
  return anonymousName(clientGroup(incoming))
}

export interface ByteReservation extends Disposable {
  add(bytes: number): void
}

/** Parses bytes as a JSON body; `keep` as in readStrictJson. Throws MayflyError SYNTAX. */
export function parseBody(bytes: Uint8Array, keep: string): StrictJson {
  try {
    const body = readStrictJson(bytes, { depthMax: DEPTH_MAX, keep })
    refuseInfinite(body.value, keep)
    return body
  } catch (thrown) {
    throw thrown instanceof StrictJsonError ? notJson(thrown) : thrown
  }
}

/** Refuses numbers such as 1e400, which have no JSON text once they are read. The kept member is forwarded as it came. */
function refuseInfinite(value: unknown, keep: string): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return
  const members = value as Record<string, unknown>
  const name = Object.keys(members).find((key) => key !== keep && hasInfinity(members[key]))
  if (name === undefined) return
  throw new StrictJsonError('a number beyond the range of a double', undefined, name.slice(0, 100))
}

function hasInfinity(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return false
  return (Array.isArray(value) ? value : Object.values(value)).some(hasInfinity)
}

function typeOf(incoming: IncomingMessage): 'json' | 'msgpack' {
  const type = incoming.headers['content-type'] ?? ''
  if (/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(type)) return 'json'
  if (/^application\/msgpack\s*$/i.test(type)) return 'msgpack'
  throw new MayflyError(
    'UNSUPPORTED_MEDIA_TYPE',
    'Cannot read the body: expected application/json in UTF-8, or application/msgpack',
  )
}

function refuseEncoded({ headers }: IncomingMessage): void {
  const encoding = (headers['content-encoding'] ?? '').slice(0, 40)
  if (/^(?:identity)?$/i.test(encoding)) return
  throw new MayflyError(
    'UNSUPPORTED_MEDIA_TYPE',
    `Cannot read a body with "Content-Encoding: ${encoding}": send it uncompressed`,
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

export function tooLarge(bytesMax: number): MayflyError {
  return new MayflyError('TOO_LARGE', `Cannot accept a body of more than ${bytesMax} bytes`, {
    details: { bytesMax },
  })
}

function busy(): MayflyError {
  return new MayflyError('OVERLOADED', 'Cannot read another body now: the buffers are full', {
    retryAfterMs: 1000,
  })
}

function slow(): MayflyError {
  return new MayflyError('REQUEST_TIMEOUT', 'Cannot read the body: it did not arrive in time')
}

function cut(thrown: unknown): MayflyError {
  return new MayflyError('SYNTAX', 'Cannot read the body: it was cut off', { cause: thrown })
}
