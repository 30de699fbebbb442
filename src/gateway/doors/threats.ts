import type { Door } from './door.ts'
import { isAdmin } from '../http/auth.ts'
import { isUnchanged } from '../http/authenticate-request.ts'
import type { GatewayParts } from '../http/parts.ts'
import type { Identity } from '../http/keys.ts'
import { json } from '../http/json-response.ts'
import { eventStream } from '../http/event-stream.ts'

const listedMax = 500

/**
 * `GET /v1/threats`: the last threats, oldest first: a tenant's own, or all for an admin. A reader that names the last
 * one it knows gets the next ones, so that it misses none.
 */
export const listThreats: Door<Pick<GatewayParts, 'threats'>> = (
  parts,
  { http: { incoming }, identity },
) => {
  const after = numberIn(new URLSearchParams(incoming.url?.split('?')[1]).get('after'))
  const found = parts.threats.after(after, tenantOf(identity))
  return json(after > 0 ? found.slice(0, listedMax) : found.slice(-listedMax))
}

/**
 * `GET /v1/threats/stream`: new threats as server-sent events. `Last-Event-ID` resumes from the ring of stored
 * threats; a reader slower than its output buffer is disconnected.
 */
export const streamThreats: Door<Pick<GatewayParts, 'keys' | 'running' | 'threatReaders'>> = (
  parts,
  { http, identity },
) => {
  const { incoming, outgoing } = http
  if (incoming.method === 'HEAD') return new Response(null, { headers: eventStream })
  parts.running.refuseWhenDraining()
  const after = incoming.headers['last-event-id']
  const { authorization } = incoming.headers
  parts.threatReaders.add(outgoing, {
    key: identity.id,
    of: identity.tenant,
    isStillAllowed: () => isUnchanged(parts, { authorization, identity }),
    tenant: tenantOf(identity),
    after: after === undefined ? undefined : numberIn(String(after)),
  })
  return new Response(null, { headers: { 'x-hono-already-sent': 'true' } })
}

function tenantOf(identity: Identity): string | undefined {
  return isAdmin(identity) ? undefined : identity.tenant
}

/** Starts from the beginning for anything but a positive integer. */
function numberIn(text: string | null): number {
  const number = Number(text)
  return Number.isSafeInteger(number) && number > 0 ? number : 0
}
