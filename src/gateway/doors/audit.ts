import * as z from 'zod'
import { checked } from '../../contract/checked.ts'
import { requirePart, type Door } from './door.ts'
import { isAdmin } from '../http/auth.ts'
import type { GatewayParts } from '../http/parts.ts'
import { json } from '../http/json-response.ts'

const PAGE_MAX = 100
const LINE = /^[1-9][0-9]{0,15}$/

/** The query of `GET /v1/audit`. */
export const auditQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(20),
  cursor: z.string().regex(LINE, 'expected the next of an earlier answer').optional(),
  run: z
    .string()
    .regex(/^[a-z]+_[0-9a-f]{32}$/, 'expected the id of an execution')
    .optional(),
})

/** `GET /v1/audit`: lines of the audit log, newest first: a tenant's own, or all for an admin. */
export const readAudit: Door<Pick<GatewayParts, 'audit' | 'bodies'>> = async (
  parts,
  { http, identity },
) => {
  const page = requirePart(parts.audit, 'Cannot read the audit log: it is disabled on this server')
  const { searchParams } = new URL(http.incoming.url ?? '', 'http://query')
  const { limit, cursor, run } = checked(auditQuery, Object.fromEntries(searchParams), 'query')
  const tenant = isAdmin(identity) ? undefined : identity.tenant
  const before = cursor === undefined ? undefined : Number(cursor)
  return json(await parts.bodies.turn(identity.tenant, () => page({ tenant, run, before, limit })))
}
