import * as z from 'zod'
import { MayflyError } from '../../contract/error.ts'
import { tightenAsked, type LiveRow, type Operations, type Operator } from '../../contract/live.ts'
import { requirePart, type Door } from './door.ts'
import { refuseOver } from '../http/authenticate-request.ts'
import { isAdmin } from '../http/auth.ts'
import type { GatewayParts, Operating, SessionParts } from '../http/parts.ts'
import type { Identity, Scope } from '../http/keys.ts'
import { charged, type MeterParts } from '../http/metered.ts'
import { labelQuery, parametersOf } from './label-query.ts'
import { checked } from '../../contract/checked.ts'
import { json } from '../http/json-response.ts'
import { ownSession, userOf } from './sessions.ts'

type OrderParts = Operating & SessionParts & Pick<GatewayParts, 'bodies' | 'history'>
type SandboxDoor = Door<OrderParts>

const sees: readonly Scope[] = ['read', 'operate']
const orders: readonly Scope[] = ['operate']

/**
 * `GET /v1/sandboxes`: running jobs and sessions, newest first: the sessions of a key of scope `run`, a tenant's own, or
 * all for an admin. With `label=name:value`, sessions alone.
 */
export const listSandboxes: SandboxDoor = (parts, { http: { incoming }, identity }) => {
  const labels = labelsOf(incoming.url)
  const own = sessionsOf(parts, identity, labels)
  const rows = mayAny(identity, sees)
    ? operationsOf(parts).list(operatorOf(identity))
    : liveOf(parts, identity, own)
  const items = rows.filter(({ id }) => !labels || own.has(id))
  return json({ items: items.map((row) => ({ ...row, ...own.get(row.id) })) })
}

/** `DELETE /v1/sandboxes?label=name:value`: ends the caller's sessions with these labels. */
export const closeSandboxes: SandboxDoor = async (parts, { http: { incoming }, identity }) => {
  const labels = labelsOf(incoming.url)
  if (!labels)
    throw new MayflyError('INVALID', 'Cannot end every session: name them by label', {
      details: [{ path: 'label', message: 'expected name:value' }],
    })
  const ids = [...sessionsOf(parts, identity, labels).keys()]
  const ended = await Promise.all(
    ids.map(async (id) => ({ id, status: (await ownSession(parts, identity, id).close()).status })),
  )
  return json({ items: ended })
}

/** `GET /v1/sandboxes/{id}`. */
export const readSandbox: SandboxDoor = (parts, { identity, params: { id = '' } }) => {
  const row = ownRow(parts, identity, id, sees)
  return json({ ...operationsOf(parts).find(id, operatorFor(identity, row)), ...row })
}

/** `POST /v1/sandboxes/{id}/tighten`: removes rights for good; a loosening is 409 with the controls in force. */
export const tightenSandbox: SandboxDoor = async (
  parts,
  { http: { incoming, outgoing }, identity, params: { id = '' } },
) => {
  const operations = orderFor(parts, identity, id)
  const { value } = await parts.bodies.json(incoming, outgoing, 'input', identity.tenant)
  const asked = checked(tightenAsked, value, 'tightening')
  return json(await operations.tighten(id, asked, operatorOf(identity)))
}

/** `POST /v1/sandboxes/{id}/freeze`: stops the processes; the schedule keeps running. */
export const freezeSandbox: SandboxDoor = async (parts, { identity, params: { id = '' } }) =>
  json(await orderFor(parts, identity, id).freeze(id, operatorOf(identity)))

/** `POST /v1/sandboxes/{id}/thaw`. */
export const thawSandbox: SandboxDoor = async (parts, { identity, params: { id = '' } }) =>
  json(await orderFor(parts, identity, id).thaw(id, operatorOf(identity)))

/**
 * `POST /v1/sandboxes/{id}/capture`: captures as much as the wall supports; the answer names the kind. Within the quotas of
 * the tenant, except for operators, who capture what a tenant with used-up quotas left.
 */
export const captureSandbox: Door<OrderParts & Pick<MeterParts, 'quotas' | 'clock'>> = async (
  parts,
  { identity, params: { id = '' } },
) => {
  const operations = orderFor(parts, identity, id)
  const capture = () => operations.capture(id, operatorOf(identity))
  return json(mayAny(identity, orders) ? await capture() : await charged(parts, identity, capture))
}

/**
 * `DELETE /v1/sandboxes/{id}`: ends a session of the caller, and answers the outcome of its life; terminates a job, and
 * answers when its code has ended. Not rate-limited.
 */
export const terminateSandbox: SandboxDoor = async (parts, { identity, params: { id = '' } }) => {
  if (ownRow(parts, identity, id, orders))
    return json(await ownSession(parts, identity, id).close())
  return json(await operationsOf(parts).terminate(id, operatorOf(identity)))
}

export function operatorOf(identity: Identity): Operator {
  return { principal: identity.principal, tenant: isAdmin(identity) ? undefined : identity.tenant }
}

/** Rate-limits orders of non-admin keys: each order costs wall and record work. */
export function operationsFor(parts: Operating, identity: Identity): Operations {
  if (!isAdmin(identity)) refuseOver(parts.operateRate.take(identity.id))
  return operationsOf(parts)
}

export function operationsOf({ operations }: Pick<GatewayParts, 'operations'>): Operations {
  return requirePart(operations, 'Cannot access live sandboxes: this is disabled on this server')
}

function orderFor(parts: OrderParts, identity: Identity, id: string): Operations {
  ownRow(parts, identity, id, orders)
  return operationsFor(parts, identity)
}

/**
 * Row of a session of this caller; undefined for a live sandbox that its scopes reach. Throws NOT_FOUND for what they do
 * not reach, as for what there is not, and for its own CONFLICT while it is being opened, SESSION_ENDED when it has ended.
 */
function ownRow(parts: OrderParts, identity: Identity, id: string, scopes: readonly Scope[]) {
  const own = sessionsOf(parts, identity).get(id)
  if (own) return own
  if (!mayAny(identity, scopes) || isNotOpen(parts, identity, id))
    return ownSession(parts, identity, id).row
  return undefined
}

/** True for a session that has ended, and for one of the caller that is being opened. */
function isNotOpen({ sessions, history }: OrderParts, identity: Identity, id: string): boolean {
  if (sessions?.held.has(id)) return false
  const life = history.row(identity.tenant, id)?.session
  if (!life) return false
  return sessions?.held.stateOf(id) === undefined || life.openedBy === identity.principal
}

function sessionsOf(
  parts: SessionParts,
  identity: Identity,
  labels?: Readonly<Record<string, string>>,
) {
  const rows = parts.sessions?.held.list(userOf(identity), labels) ?? []
  return new Map(rows.map((row) => [row.id, row]))
}

function liveOf(
  parts: OrderParts,
  identity: Identity,
  own: ReadonlyMap<string, unknown>,
): readonly LiveRow[] {
  const { principal, tenant } = identity
  return operationsOf(parts)
    .list({ principal, tenant })
    .filter(({ id }) => own.has(id))
}

/** Identity for the operations: an owner acts within its tenant, an operator within its scopes. */
const operatorFor = (identity: Identity, row: unknown): Operator =>
  row ? { principal: identity.principal, tenant: identity.tenant } : operatorOf(identity)

const mayAny = (identity: Identity, scopes: readonly Scope[]): boolean =>
  isAdmin(identity) || scopes.some((scope) => identity.scopes.includes(scope))

const sandboxQuery = z.strictObject({ label: labelQuery })

/** Labels of the query; undefined without any. Throws MayflyError INVALID. */
function labelsOf(target: string | undefined): Readonly<Record<string, string>> | undefined {
  const { label } = checked(sandboxQuery, parametersOf(target), 'query')
  return Object.keys(label).length > 0 ? label : undefined
}
