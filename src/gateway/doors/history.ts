import * as z from 'zod'
import { MayflyError } from '../../contract/error.ts'
import type { Outcome } from '../../contract/outcome.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { hasLabels, type ExecutionRow } from '../../history/history.ts'
import type { Door } from './door.ts'
import { streamEnd, wantsStream, watchJob } from './answer-job.ts'
import { FirstReads } from '../http/first-reads.ts'
import type { GatewayParts, StoredOutcomes } from '../http/parts.ts'
import { holdAnswer, readOutcome, refuseOpenSession, refuseUnread } from './stored-outcome.ts'
import { labelQuery, parametersOf } from './label-query.ts'
import { checked } from '../../contract/checked.ts'
import { jsonText } from '../http/json-response.ts'

const ID = /^exec_[0-9a-f]{32}$/
const PAGE_MAX = 100

/** The query of `GET /v1/executions`. */
const listQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(20),
  cursor: z.string().regex(ID, 'expected the next of an earlier answer').optional(),
  label: labelQuery,
})

/** `GET /v1/executions`: the tenant's jobs, stored and running, newest first. */
export const listExecutions: Door<
  Pick<GatewayParts, 'bodies' | 'history' | 'live' | 'sessions'>
> = async (parts, { http, identity }) => {
  const asked = checked(listQuery, parametersOf(http.incoming.url), 'query')
  const { limit, cursor, label: labels } = asked
  const { tenant } = identity
  // Open sessions are listed at /v1/sandboxes, for their owner only.
  const isHidden = (id: string) => parts.sessions?.held.stateOf(id) !== undefined
  const kept = await parts.bodies.turn(tenant, () =>
    parts.history.list({ tenant, limit, before: cursor, labels, isHidden }),
  )
  const live = parts.live
    .of(identity.tenant)
    .filter((row) => hasLabels(row, labels))
    .filter(
      ({ id }) =>
        (cursor === undefined || id < cursor) && (kept.next === undefined || id > kept.next),
    )
  const ids = new Set(live.map(({ id }) => id))
  const all = [...live, ...kept.items.filter(({ id }) => !ids.has(id))].sort(newestFirst)
  const items = all.slice(0, limit)
  const next = all.length > limit ? items.at(-1)?.id : kept.next
  return jsonText(200, JSON.stringify({ items, next: next ?? null }))
}

/**
 * `GET /v1/executions/{id}`: the outcome, or `{id, status}` of a running job; with `Accept: text/event-stream`, the
 * rest of its stream.
 */
export const getExecution: Door<StoredOutcomes & Pick<GatewayParts, 'limits' | 'live'>> = async (
  parts,
  { http, identity, params },
) => {
  const id = idOf(params)
  const live = parts.live.find(identity.tenant, id)
  const isStream = http.incoming.method === 'GET' && wantsStream(http.incoming.headers)
  if (live && isStream) return watchJob(parts, http, live, identity.tenant)
  if (live) return jsonText(200, JSON.stringify({ id, status: live.row.status }))
  const text = await readOutcome(parts, http, identity.tenant, { id, read: (text) => text })
  return isStream ? streamEnd(parts, http, text) : jsonText(200, text)
}

/** `DELETE /v1/executions/{id}`: cancels a running job with 202; answers 200 with the outcome of a finished one. */
export const cancelExecution: Door<StoredOutcomes & Pick<GatewayParts, 'live'>> = async (
  parts,
  { http, identity, params },
) => {
  const id = idOf(params)
  const live = parts.live.find(identity.tenant, id)
  if (!live)
    return jsonText(
      200,
      await readOutcome(parts, http, identity.tenant, { id, read: (text) => text }),
    )
  live.cancel()
  return jsonText(202, JSON.stringify({ id, status: live.row.status }))
}

/**
 * `GET /v1/executions/{id}/artifacts/{path}`: the bytes of an artifact of an ended job. Charged from the second time on: its job
 * was charged for the first, whether they are read or not.
 */
export const readArtifact: Door<StoredOutcomes & Pick<GatewayParts, 'quotas'>> = async (
  parts,
  { http, identity: { tenant }, params },
) => {
  const id = idOf(params)
  const { path = '' } = params
  refuseOpenSession(parts, id)
  refuseUnread(parts, tenant)
  const reads = firstReadsOf(parts)
  if (!reads.isFirst(tenant, id, path)) parts.quotas.transfer(tenant, 0)
  const bytes = await parts.bodies.turn(tenant, () => {
    const found =
      parts.history.artifact(tenant, id, path) ?? inlineArtifact(parts, tenant, id, path)
    if (!found) throw new MayflyError('NOT_FOUND', `Cannot find the artifact "${path}"`)
    holdAnswer(parts, http, tenant, found)
    return found
  })
  if (http.incoming.method === 'GET') {
    if (!reads.isFirst(tenant, id, path)) parts.quotas.transfer(tenant, bytes.length)
    reads.remember(tenant, id, path)
  }
  return new Response(Uint8Array.from(bytes), { headers: fileHeaders(path, bytes.length) })
}

/** First reads by history, so by server. */
const firstReads = new WeakMap<GatewayParts['history'], FirstReads>()

function firstReadsOf({ history }: Pick<GatewayParts, 'history'>): FirstReads {
  const reads = firstReads.get(history) ?? new FirstReads()
  firstReads.set(history, reads)
  return reads
}

/** Bytes of an artifact whose outcome carries them. */
function inlineArtifact(
  { history }: Pick<GatewayParts, 'history'>,
  tenant: string,
  id: string,
  path: string,
): Uint8Array | undefined {
  const text = history.outcome(tenant, id)
  if (text === undefined) unknown()
  const { artifacts } = parseJson(text) as Outcome
  const content = artifacts.find((one) => one.path === path)?.content
  return content === undefined ? undefined : Buffer.from(content, 'base64')
}

/** Content of a guest: never shown as a page of this origin. */
function fileHeaders(path: string, size: number): Readonly<Record<string, string>> {
  const name = encodeURIComponent(path.slice(path.lastIndexOf('/') + 1))
  return {
    'content-type': 'application/octet-stream',
    'content-length': String(size),
    'content-disposition': `attachment; filename*=UTF-8''${name}`,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
}

/**
 * NOT_FOUND for every id not visible to the tenant: unknown, expired, or of another tenant. The cases are
 * indistinguishable on purpose.
 */
export function unknown(): never {
  throw new MayflyError('NOT_FOUND', 'Cannot find this execution')
}

/** Throws MayflyError NOT_FOUND for a malformed id. */
export function idOf({ id = '' }: Readonly<Record<string, string>>): string {
  return ID.test(id) ? id : unknown()
}

function newestFirst(a: ExecutionRow, b: ExecutionRow): number {
  return a.id < b.id ? 1 : -1
}
