import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import { tightenAsked, type Operations, type Operator } from '../../contract/live.ts'
import { refuseOver } from '../http/admit.ts'
import { isAdmin } from '../http/auth.ts'
import type { Door } from '../http/door.ts'
import type { Identity } from '../http/keys.ts'
import { invalid } from '../http/problem.ts'
import { json } from '../http/reply.ts'

type Params = Readonly<Record<string, string>>
type Answer = (
  door: Door,
  http: HttpBindings,
  who: Identity,
  params: Params,
) => Promise<Response> | Response

/** `GET /v1/sandboxes`: jobs under way, newest first: a tenant's own, and all of them for an admin. */
export const listSandboxes: Answer = (door, _http, who) =>
  json({ items: operationsOf(door).list(operatorOf(who)) })

/** `GET /v1/sandboxes/{id}`. */
export const readSandbox: Answer = (door, _http, who, { id = '' }) =>
  json(operationsOf(door).find(id, operatorOf(who)))

/** `POST /v1/sandboxes/{id}/tighten`: takes away for good; 409 for what would give, with what is in force. */
export const tightenSandbox: Answer = async (door, { incoming, outgoing }, who, { id = '' }) => {
  const operations = operationsFor(door, who)
  const { value } = await door.bodies.json(incoming, outgoing, 'input', who.tenant)
  const asked = tightenAsked.safeParse(value)
  if (!asked.success) throw invalid('tightening', asked.error)
  return json(await operations.tighten(id, asked.data, operatorOf(who)))
}

/** `POST /v1/sandboxes/{id}/freeze`: it stands still, and goes on ageing. */
export const freezeSandbox: Answer = async (door, _http, who, { id = '' }) =>
  json(await operationsFor(door, who).freeze(id, operatorOf(who)))

/** `POST /v1/sandboxes/{id}/thaw`. */
export const thawSandbox: Answer = async (door, _http, who, { id = '' }) =>
  json(await operationsFor(door, who).thaw(id, operatorOf(who)))

/** `POST /v1/sandboxes/{id}/capture`: as deep as its wall can look, and it says how deep that was. */
export const captureSandbox: Answer = async (door, _http, who, { id = '' }) =>
  json(await operationsFor(door, who).capture(id, operatorOf(who)))

/** `DELETE /v1/sandboxes/{id}`: ends it; answers when its code has ended. There is no rate for this. */
export const terminateSandbox: Answer = async (door, _http, who, { id = '' }) =>
  json(await operationsOf(door).terminate(id, operatorOf(who)))

export function operatorOf(who: Identity): Operator {
  return { principal: who.principal, tenant: isAdmin(who) ? undefined : who.tenant }
}

/** Orders cost walls and the record something, so that a key other than an admin's has so many a minute. */
export function operationsFor(door: Door, who: Identity): Operations {
  if (!isAdmin(who)) refuseOver(door.operateRate.take(who.id))
  return operationsOf(door)
}

export function operationsOf({ operations }: Door): Operations {
  if (operations) return operations
  throw new MayflyError('UNAVAILABLE', 'Cannot look at sandboxes: this server shows none')
}
