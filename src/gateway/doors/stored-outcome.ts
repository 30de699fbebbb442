import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
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
  if (parts.answers.isFull(tenant)) throw outcomeUnread()
  return await parts.bodies.turn(tenant, () => {
    const text = parts.history.outcome(tenant, id)
    if (text === undefined) throw new MayflyError('NOT_FOUND', 'Cannot find this execution')
    holdAnswer(parts, http, tenant, text)
    return read(text)
  })
}

/**
 * Hides an open session: its row has no end yet, so it would look like an interrupted job, and its id must not be
 * disclosed to other keys of the tenant.
 */
export function refuseOpenSession(
  { sessions }: Pick<StoredOutcomes, 'sessions'>,
  id: string,
): void {
  if (sessions?.held.has(id)) throw new MayflyError('NOT_FOUND', 'Cannot find this execution')
}

/** Throws MayflyError OVERLOADED if too many bytes of this tenant are unread. */
export function holdAnswer(
  parts: Pick<GatewayParts, 'answers'>,
  { outgoing }: Pick<HttpBindings, 'outgoing'>,
  tenant: string,
  answer: { readonly length: number },
): void {
  const held = parts.answers.hold(tenant)
  if (!held.add(answer.length)) throw outcomeUnread()
  if (outgoing.closed) held[Symbol.dispose]()
  else outgoing.once('close', () => held[Symbol.dispose]())
}

export function outcomeUnread(): MayflyError {
  const message = 'Cannot send another response now: earlier ones have not been read yet'
  return new MayflyError('OVERLOADED', message, { retryAfterMs: 1000 })
}
