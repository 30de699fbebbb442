import type { IncomingMessage } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import { attempt } from '../../lib/attempt.ts'
import { authenticate, isAdmin, unauthenticated } from './auth.ts'
import type { Authentication } from './parts.ts'
import type { Identity } from './keys.ts'
import { clientGroup } from './client-address.ts'

/**
 * Authenticates before reading anything else of the request. Failed keys are charged to the rate limit of the
 * address, so guessing keys is limited like any anonymous traffic.
 */
export function authenticateRequest(
  parts: Authentication,
  { incoming }: Pick<HttpBindings, 'incoming'>,
  authorization = incoming.headers.authorization,
): Identity {
  try {
    const identity = authenticate(authorization, parts.keys)
    if (!isAdmin(identity)) refuseOver(parts.keyRate.take(identity.id))
    return identity
  } catch (thrown) {
    if (thrown instanceof MayflyError && thrown.code === 'UNAUTHENTICATED') {
      refuseOver(parts.addressRate.take(clientGroup(incoming)))
    }
    throw thrown
  }
}

/** Name of a client: of its key, or of its address. A header that is no key would be another name each time. */
export function askerOf(
  { keys }: Pick<Authentication, 'keys'>,
  { incoming }: Pick<HttpBindings, 'incoming'>,
): string {
  const identity = attempt(() => authenticate(incoming.headers.authorization, keys))
  return identity?.id ?? clientGroup(incoming)
}

/** Interval in which the key of an open connection is looked up again. */
const recheckMs = 5000

/** False once the key of an open connection is revoked, expired or another's, or has other scopes. */
export function isUnchanged(
  { keys }: Pick<Authentication, 'keys'>,
  { authorization, identity }: { authorization: string | undefined; identity: Identity },
): boolean {
  const now = attempt(() => authenticate(authorization, keys))
  return (
    now?.id === identity.id &&
    now.tenant === identity.tenant &&
    now.scopes.join() === identity.scopes.join()
  )
}

/** Throws MayflyError UNAUTHENTICATED if the key of a request is not `isUnchanged` since its head arrived: a body may take hours. */
export function refuseChanged(
  parts: Pick<Authentication, 'keys'>,
  { headers: { authorization } }: Pick<IncomingMessage, 'headers'>,
  identity: Identity,
): void {
  if (!isUnchanged(parts, { authorization, identity }))
    throw unauthenticated('Cannot accept this API key any longer', 'invalid_token')
}

/** Calls `gone` once `isUnchanged` is false, unless the connection closes before. */
export function watchKey(
  parts: Pick<Authentication, 'keys'>,
  asked: { authorization: string | undefined; identity: Identity },
  connection: { once(event: 'close', then: () => void): unknown },
  gone: () => void,
): void {
  const timer = setInterval(() => {
    if (!isUnchanged(parts, asked)) gone()
  }, recheckMs)
  timer.unref()
  connection.once('close', () => clearInterval(timer))
}

/** Throws MayflyError RATE_LIMITED unless the wait is 0. */
export function refuseOver(retryAfterMs: number): void {
  if (retryAfterMs === 0) return
  throw new MayflyError(
    'RATE_LIMITED',
    'Cannot accept more requests now: the rate limit is exceeded',
    { retryAfterMs },
  )
}
