import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import type { Job } from '../../contract/job.ts'
import { anonymousAt } from '../http/body.ts'
import type { GatewayParts, StoredOutcomes } from '../http/parts.ts'

/**
 * Reads a stored outcome in the tenant's fair queue and charges its size until the response is closed: an outcome may
 * be tens of megabytes, and a slow reader pins all of it in memory. Throws MayflyError NOT_FOUND, or OVERLOADED
 * while too many bytes of this tenant are unread.
 */
export async function readOutcome<T>(
  parts: StoredOutcomes,
  http: Pick<HttpBindings, 'outgoing'>,
  tenant: string,
  { id, read }: { readonly id: string; readonly read: (text: string) => T },
): Promise<T> {
  refuseOpenSession(parts, id)
  refuseUnread(parts, tenant)
  return await parts.bodies.turn(tenant, () => {
    const text = parts.history.outcome(tenant, id)
    if (text === undefined) throw new MayflyError('NOT_FOUND', 'Cannot find this execution')
    holdAnswer(parts, http, tenant, text)
    return read(text)
  })
}

/**
 * Hides a session that is open or being opened: its row has no end yet, so it would look like an interrupted job, and its id must not be
 * disclosed to other keys of the tenant.
 */
export function refuseOpenSession(
  { sessions }: Pick<StoredOutcomes, 'sessions'>,
  id: string,
): void {
  if (sessions?.held.stateOf(id) !== undefined)
    throw new MayflyError('NOT_FOUND', 'Cannot find this execution')
}

/** Reader of the answer of a job: its tenant, or the address of a page's visitor. */
export function readerOf(
  { incoming }: Pick<HttpBindings, 'incoming'>,
  { origin, tenant }: Pick<Job, 'origin' | 'tenant'>,
): string {
  return origin === 'page' ? anonymousAt(incoming) : tenant
}

/** Throws MayflyError OVERLOADED if too many bytes of this reader are unread. */
export function refuseUnread({ answers }: Pick<GatewayParts, 'answers'>, of: string): void {
  if (answers.isFull(of)) throw outcomeUnread()
}

/** Response, or socket of one. */
interface Closing {
  readonly closed: boolean
  once(event: 'close', then: () => void): unknown
}

/**
 * Charges an answer to its reader, a tenant or `anonymousAt` an address, until the response is closed. Throws MayflyError
 * OVERLOADED if too many bytes of this reader are unread; `id` is the job whose stored outcome can be read later.
 */
export function holdAnswer(
  parts: Pick<GatewayParts, 'answers'>,
  { outgoing }: { readonly outgoing: Closing },
  of: string,
  answer: { readonly length: number },
  id?: string,
): void {
  const held = parts.answers.hold(of)
  if (!held.add(answer.length)) throw outcomeUnread(id)
  counted.add(outgoing)
  if (outgoing.closed) held[Symbol.dispose]()
  else outgoing.once('close', () => held[Symbol.dispose]())
}

/** Responses that `holdAnswer` charged. */
const counted = new WeakSet<Closing>()

/** Answer that is not charged by `countAnswer`: as much as a socket takes, so that a full share still leaves room for orders. */
const smallBytesMax = 65_536
/** Types of answers that are made whole. Others are charged by their door, or read piece by piece. */
const wholeTypes = /^(?:application\/(?:(?:problem\+)?json|msgpack)|image\/svg\+xml|text\/)/

/** Charges an answer that its door has not charged, such as a list. Throws as `holdAnswer` does. */
export async function countAnswer(
  parts: Pick<GatewayParts, 'answers'>,
  { outgoing }: Pick<HttpBindings, 'outgoing'>,
  of: string,
  answer: Response,
): Promise<Response> {
  const type = answer.headers.get('content-type') ?? ''
  if (!answer.body || counted.has(outgoing) || !wholeTypes.test(type)) return answer
  if (type.startsWith('text/event-stream')) {
    const held = parts.answers.hold(of)
    let unread = 0
    outgoing.once('close', () => held[Symbol.dispose]())
    // A piece is taken from here once those before it are written, so that a drained response has none.
    outgoing.on('drain', () => {
      held.add(-unread)
      unread = 0
    })
    const charging = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        const bytes = chunk.length <= smallBytesMax ? 0 : chunk.length
        if (held.add(bytes)) {
          unread += bytes
          return controller.enqueue(chunk)
        }
        outgoing.destroy()
        controller.terminate()
      },
    })
    return new Response(answer.body.pipeThrough(charging), answer)
  }
  const length = Number(answer.headers.get('content-length') ?? 0)
  if (length > smallBytesMax) {
    holdAnswer(parts, { outgoing }, of, { length })
    return answer
  }
  const bytes = Buffer.from(await answer.arrayBuffer())
  if (bytes.length > smallBytesMax) holdAnswer(parts, { outgoing }, of, bytes)
  return new Response(bytes, answer)
}

function outcomeUnread(id?: string): MayflyError {
  const message = 'Cannot send another response now: earlier ones have not been read yet'
  return new MayflyError('OVERLOADED', message, {
    retryAfterMs: 1000,
    ...(id !== undefined && { details: { id } }),
  })
}
