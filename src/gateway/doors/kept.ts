import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import type { Door } from '../http/door.ts'

/**
 * Reads a kept outcome in its tenant's turn, and counts it until the answer has left: it may be tens of megabytes, and a
 * reader that takes nothing holds all of it. Throws MayflyError NOT_FOUND, or OVERLOADED while too many are not read.
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

/** Throws MayflyError OVERLOADED where too much of this tenant's is not read. */
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
