import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import type { Door } from '../http/door.ts'

/**
 * Reads a stored outcome in the tenant's fair turn and charges its size until the response is closed: an outcome may
 * be tens of megabytes, and a slow reader pins all of it in memory. Throws MayflyError NOT_FOUND, or OVERLOADED
 * while too many bytes of this tenant are unread.
 */
export async function readOutcome<T>(
  door: Door,
  http: Pick<HttpBindings, 'outgoing'>,
  tenant: string,
  { id, read }: { readonly id: string; readonly read: (text: string) => T },
): Promise<T> {
  if (door.answers.isFull(tenant)) throw unread()
  return await door.bodies.turn(tenant, () => {
    const text = door.history.outcome(tenant, id)
    if (text === undefined) throw new MayflyError('NOT_FOUND', 'Cannot find this execution')
    holdAnswer(door, http, tenant, text)
    return read(text)
  })
}

/** Throws MayflyError OVERLOADED if too many bytes of this tenant are unread. */
export function holdAnswer(
  door: Door,
  { outgoing }: Pick<HttpBindings, 'outgoing'>,
  tenant: string,
  text: string,
): void {
  const held = door.answers.hold(tenant)
  if (!held.add(text.length)) throw unread()
  if (outgoing.closed) held[Symbol.dispose]()
  else outgoing.once('close', () => held[Symbol.dispose]())
}

function unread(): MayflyError {
  const message = 'Cannot send another outcome now: others are not yet read'
  return new MayflyError('OVERLOADED', message, { retryAfterMs: 1000 })
}
