import { tightenAsked, type Operations, type Operator } from '../../contract/live.ts'
import { present, type Door } from './door.ts'
import { refuseOver } from '../http/authenticate-request.ts'
import { isAdmin } from '../http/auth.ts'
import type { GatewayParts, Operating } from '../http/parts.ts'
import type { Identity } from '../http/keys.ts'
import { checked } from '../http/problem.ts'
import { json } from '../http/json-response.ts'

type SandboxDoor = Door<Operating & Pick<GatewayParts, 'bodies'>>

/** `GET /v1/sandboxes`: running jobs, newest first: a tenant's own, or all for an admin. */
export const listSandboxes: SandboxDoor = (parts, _http, who) =>
  json({ items: operationsOf(parts).list(operatorOf(who)) })

/** `GET /v1/sandboxes/{id}`. */
export const readSandbox: SandboxDoor = (parts, _http, who, { id = '' }) =>
  json(operationsOf(parts).find(id, operatorOf(who)))

/** `POST /v1/sandboxes/{id}/tighten`: removes rights for good; a loosening is 409 with the controls in force. */
export const tightenSandbox: SandboxDoor = async (
  parts,
  { incoming, outgoing },
  who,
  { id = '' },
) => {
  const operations = operationsFor(parts, who)
  const { value } = await parts.bodies.json(incoming, outgoing, 'input', who.tenant)
  const asked = checked(tightenAsked, value, 'tightening')
  return json(await operations.tighten(id, asked, operatorOf(who)))
}

/** `POST /v1/sandboxes/{id}/freeze`: stops the processes; the schedule keeps running. */
export const freezeSandbox: SandboxDoor = async (parts, _http, who, { id = '' }) =>
  json(await operationsFor(parts, who).freeze(id, operatorOf(who)))

/** `POST /v1/sandboxes/{id}/thaw`. */
export const thawSandbox: SandboxDoor = async (parts, _http, who, { id = '' }) =>
  json(await operationsFor(parts, who).thaw(id, operatorOf(who)))

/** `POST /v1/sandboxes/{id}/capture`: captures as much as the wall supports; the answer names the kind. */
export const captureSandbox: SandboxDoor = async (parts, _http, who, { id = '' }) =>
  json(await operationsFor(parts, who).capture(id, operatorOf(who)))

/** `DELETE /v1/sandboxes/{id}`: terminates; answers when the code has ended. Not rate-limited. */
export const terminateSandbox: SandboxDoor = async (parts, _http, who, { id = '' }) =>
  json(await operationsOf(parts).terminate(id, operatorOf(who)))

export function operatorOf(who: Identity): Operator {
  return { principal: who.principal, tenant: isAdmin(who) ? undefined : who.tenant }
}

/** Rate-limits orders of non-admin keys: each order costs wall and record work. */
export function operationsFor(parts: Operating, who: Identity): Operations {
  if (!isAdmin(who)) refuseOver(parts.operateRate.take(who.id))
  return operationsOf(parts)
}

export function operationsOf({ operations }: Pick<GatewayParts, 'operations'>): Operations {
  return present(operations, 'Cannot look at sandboxes: this server shows none')
}
