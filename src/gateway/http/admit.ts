import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import { authenticate, isAdmin } from './auth.ts'
import type { Door } from './door.ts'
import type { Identity } from './keys.ts'
import { addressGroup } from './rate.ts'

/** Who asks, before anything else of the request is looked at. Whoever tries keys has as many tries as others requests. */
export function admit(
  door: Door,
  { incoming }: Pick<HttpBindings, 'incoming'>,
  authorization = incoming.headers.authorization,
): Identity {
  try {
    const identity = authenticate(authorization, door.keys)
    if (!isAdmin(identity)) refuseOver(door.keyRate.take(identity.id))
    return identity
  } catch (thrown) {
    if (thrown instanceof MayflyError && thrown.code === 'UNAUTHENTICATED') {
      refuseOver(door.addressRate.take(addressGroup(incoming.socket.remoteAddress)))
    }
    throw thrown
  }
}

/** Throws MayflyError RATE_LIMITED unless there is nothing to wait for. */
export function refuseOver(retryAfterMs: number): void {
  if (retryAfterMs === 0) return
  throw new MayflyError('RATE_LIMITED', 'Cannot take more requests now', { retryAfterMs })
}
