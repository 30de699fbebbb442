import type { HttpBindings } from '@hono/node-server'
import type { Job } from '../../contract/job.ts'
import { MayflyError } from '../../contract/error.ts'
import { sessionBusy, sessionFileBytesMax, type SessionFiles } from '../../contract/exec.ts'
import { sessionEndedAs } from '../../contract/session-ended.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { Outcome } from '../../contract/outcome.ts'
import { timeoutRequest, type SessionRow } from '../../contract/session.ts'
import { canonicalJson } from '../../lib/canonical-json.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { sha256 } from '../../lib/hash.ts'
import { newId } from '../../lib/id.ts'
import type { StrictJson } from '../../lib/strict-json.ts'
import {
  forkedRow,
  forkSession,
  readFork,
  type ForkedSessions,
  type SessionPlace,
} from '../../sessions/fork-session.ts'
import type { OpenSession, SessionUser } from '../../sessions/open-sessions.ts'
import {
  execJob,
  readExec,
  readSession,
  sessionJob,
  type SessionOwner,
} from '../../sessions/session-job.ts'
import { requirePart, type Door } from './door.ts'
import { isAdmin } from '../http/auth.ts'
import { bodyDigest, claimIdempotencyKey, type KeyClaim } from '../http/idempotency.ts'
import { json, jsonText } from '../http/json-response.ts'
import type { Identity } from '../http/keys.ts'
import type { GatewayParts, JobStart, ServedSessions, SessionParts } from '../http/parts.ts'
import { checked } from '../../contract/checked.ts'
import { traceOf } from '../http/request-trace.ts'
import type { QuotaSlot } from '../http/quota.ts'
import { endedRow, keep, requestBytesOf, rowOf, withAccount } from '../http/start-job.ts'
import { holdAnswer, refuseUnread } from './stored-outcome.ts'
import { answerJob, outcomeResponse, repeatedAnswer, type AnswerParts } from './answer-job.ts'

type SessionDoor = SessionParts & Pick<GatewayParts, 'history'>

const LIST_PATH = '.'
const PATH_CHARACTERS_MAX = 1024

/**
 * `POST /v1/sandboxes`: opens a session, which stays open until its deadline without a connection of its owner. The same
 * Idempotency-Key finds the session that it opened: its row while it is open, SESSION_ENDED after its end.
 */
export const openSandbox: Door<AnswerParts & SessionParts> = async (parts, { http, identity }) => {
  parts.running.refuseWhenDraining()
  served(parts)
  const { asked, digest } = await optionalBody(parts, http, identity.tenant, (body) => ({
    asked: readSession(body),
    digest: keyedDigest(http, 'sandbox', body),
  }))
  const job = sessionJob(asked, ownerOf(http, identity), parts.clock)
  const claimed = claimedKey(parts, http, job, digest)
  if (claimed?.kind === 'done') {
    return openedResponse(ownSession(parts, identity, claimed.id).row, {
      'idempotent-replayed': 'true',
    })
  }
  const opened = await openHeld(parts, { job, asked }).catch((thrown: unknown) => {
    claimed?.release()
    throw thrown
  })
  if (opened.kind === 'ended') {
    claimed?.release()
    const text = JSON.stringify(opened.outcome)
    return outcomeResponse({ outcome: opened.outcome, text })
  }
  const { held: one } = opened
  // The client is gone and does not know the id. Keep the session only if a retry with its Idempotency-Key can find it.
  if (http.outgoing.destroyed && !claimed) void one.close().catch(() => undefined)
  return openedResponse(one.row)
}

/** Uses the body of a request whose fields are all optional: without a body, no fields. */
async function optionalBody<T>(
  { bodies }: Pick<GatewayParts, 'bodies'>,
  { incoming, outgoing }: HttpBindings,
  tenant: string,
  use: (body: unknown) => T,
): Promise<T> {
  const { headers } = incoming
  const length = Number(headers['content-length'] ?? 0)
  if (length === 0 && headers['transfer-encoding'] === undefined) return use({})
  const asked = { keep: 'input', of: tenant, use: ({ value }: StrictJson) => use(value) }
  return await bodies.jsonAs(incoming, outgoing, asked)
}

function openedResponse(row: SessionRow, headers: Readonly<Record<string, string>> = {}): Response {
  const location = `/v1/sandboxes/${row.id}`
  return jsonText(201, JSON.stringify(row), { location, ...headers })
}

/** Digest of a request; undefined without an Idempotency-Key, for which alone it is needed. */
function keyedDigest({ incoming }: HttpBindings, of: string, body: unknown): string | undefined {
  if (incoming.headers['idempotency-key'] === undefined) return undefined
  return sha256(`${of}\0${canonicalJson(body)}`)
}

/** Claim of the request's Idempotency-Key, for an id and its `keyedDigest`; undefined without one. Throws as `claimIdempotencyKey` does. */
function claimedKey(
  parts: AnswerParts & SessionParts,
  { incoming }: HttpBindings,
  { tenant, principal, id }: Pick<Job, 'tenant' | 'principal' | 'id'>,
  digest: string | undefined,
): KeyClaim | undefined {
  const key = incoming.headers['idempotency-key']
  if (key === undefined || digest === undefined) return undefined
  const stateOf = (one: string) => parts.sessions?.held.stateOf(one)
  return claimIdempotencyKey(parts.history, parts.live, {
    tenant,
    principal,
    key: String(key),
    digest,
    id,
    stateOf,
  })
}

interface SessionOpening {
  readonly job: Job
  readonly asked: OpenSession['asked']
  /** Receives each timeline entry of the life. */
  readonly on?: (entry: TimelineEntry) => void
}

/** Opens a session, which occupies a job slot of the server and of the tenant until it ends. Throws like `startJob`. */
export async function openHeld(
  parts: JobStart & SessionParts,
  { job, asked, on }: SessionOpening,
): Promise<
  | { readonly kind: 'open'; readonly held: OpenSession }
  | { readonly kind: 'ended'; readonly outcome: Outcome }
> {
  const { open, held } = served(parts)
  const place = takeSlots(parts, job)
  try {
    const opened = await open(withAccount(job, place), { signal: place.signal, ...(on && { on }) })
    if (opened.kind === 'ended') {
      place.end(opened.outcome)
      return opened
    }
    const one = held.add(opened.session, job, asked)
    void opened.session.ended.then(
      (outcome) => place.end(outcome, one.chargedMs),
      () => place.end(undefined),
    )
    return { kind: 'open', held: one }
  } catch (thrown) {
    place.end(undefined)
    throw thrown
  }
}

/**
 * `POST /v1/sandboxes/{id}/fork`: makes sessions of this one, which goes on. All of them are opened, or none. The same
 * Idempotency-Key gets the same answer, also when its parent or a child has ended since.
 */
export const forkSandbox: Door<AnswerParts & SessionParts> = async (
  parts,
  { http, identity, params: { id = '' } },
) => {
  parts.running.refuseWhenDraining()
  const { held } = served(parts)
  const { asked, digest } = await optionalBody(parts, http, identity.tenant, (body) => ({
    asked: readFork(body),
    digest: keyedDigest(http, `fork\0${id}`, body),
  }))
  const request = { tenant: identity.tenant, principal: identity.principal, id: newId('fork') }
  const claimed = claimedKey(parts, http, request, digest)
  if (claimed?.kind === 'done')
    return jsonText(201, claimed.text, { 'idempotent-replayed': 'true' })
  try {
    const parent = ownSession(parts, identity, id)
    const place = (job: Job) => takeSlots(parts, job)
    const owner = ownerOf(http, identity)
    const forked = await held.making(request.id, () =>
      forkSession(parent, asked, owner, { clock: parts.clock, held, place }),
    )
    return jsonText(201, await keptAnswer(forked, claimed, http))
  } catch (thrown) {
    claimed?.release()
    throw thrown
  }
}

/** Stores the answer under the key. Closes the children if that fails, or if the client is gone and cannot retry. */
async function keptAnswer(
  forked: ForkedSessions,
  claimed: Extract<KeyClaim, { kind: 'new' }> | undefined,
  { outgoing }: HttpBindings,
): Promise<string> {
  const close = () => Promise.allSettled(forked.children.map((child) => child.close()))
  const answer = JSON.stringify(forkedRow(forked))
  try {
    claimed?.keep(answer)
  } catch (thrown) {
    await close()
    throw thrown
  }
  if (outgoing.destroyed && !claimed) void close()
  return answer
}

/**
 * `POST /v1/sandboxes/{id}/run`: one exec, whose outcome comes in the forms of an execution. The same Idempotency-Key gets
 * the same answer, also while another exec runs, and when the session has ended since.
 */
export const runInSandbox: Door<AnswerParts & SessionParts> = async (
  parts,
  { http, identity, params: { id = '' } },
) => {
  const { body, asked } = await parts.bodies.jsonAs(http.incoming, http.outgoing, {
    keep: 'input',
    of: identity.tenant,
    use: (given) => ({ body: given, asked: readExec(given.value) }),
  })
  const digest = () => bodyDigest(body, 'input', id)
  const repeated = await repeatedAnswer(parts, http, identity, digest)
  if (repeated) return repeated
  const held = ownSession(parts, identity, id)
  const { session } = held
  const input = body.kept === undefined ? {} : { inputText: body.kept }
  const of = { id, asked: held.asked, ...input }
  const job = execJob(asked, of, ownerOf(http, identity), parts.clock)
  if (session.isBusy) throw sessionBusy()
  const road: JobStart['road'] = (one, caller) => {
    parts.live.runs(one.id)
    return held.exec(one, caller)
  }
  return await answerJob({ ...parts, road }, http, { job, digest })
}

/** `GET /v1/sandboxes/{id}/files`: lists the working folder; with `?path=`, the bytes of that file. */
export const sandboxFiles: Door<SessionDoor & Pick<GatewayParts, 'answers' | 'quotas'>> = async (
  parts,
  { http, identity, params: { id = '' } },
) => {
  const { files } = ownSession(parts, identity, id).session
  return await filesAnswer(parts, http, identity, files)
}

/** `of`: the tenant, or the address of a page's visitor. */
export async function filesAnswer(
  parts: Pick<GatewayParts, 'answers'> & Pick<JobStart, 'quotas'>,
  http: HttpBindings,
  { tenant, of = tenant }: { readonly tenant: string; readonly of?: string },
  files: SessionFiles,
): Promise<Response> {
  const path = pathOf(http, false)
  if (path === undefined) return json(await files.list(LIST_PATH))
  refuseUnread(parts, of)
  parts.quotas.transfer(tenant, 0)
  const bytes = await files.get(path, sessionFileBytesMax)
  if (http.incoming.method === 'GET') parts.quotas.transfer(tenant, bytes.length)
  holdAnswer(parts, http, of, bytes)
  return new Response(Buffer.from(bytes), {
    headers: {
      'content-type': 'application/octet-stream',
      'content-disposition': 'attachment',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}

/** `PUT /v1/sandboxes/{id}/files?path=`: the body becomes the file. */
export const putSandboxFile: Door<SessionDoor & Pick<GatewayParts, 'bodies' | 'quotas'>> = async (
  parts,
  { http, identity, params: { id = '' } },
) => {
  const { files } = ownSession(parts, identity, id).session
  const path = pathOf(http, true)!
  return await parts.bodies.bytes(http.incoming, http.outgoing, identity.tenant, async (bytes) => {
    parts.quotas.transfer(identity.tenant, bytes.length)
    await files.put(path, bytes)
    return json({ path, size: bytes.length })
  })
}

/** `GET /v1/sandboxes/{id}/pty` without an upgrade; upgrades are handled by `websocket-terminal.ts`. */
export const sandboxTerminal: Door<SessionDoor> = (parts, { identity, params: { id = '' } }) => {
  ownSession(parts, identity, id)
  throw new MayflyError('INVALID', 'Cannot open a terminal without an upgrade to WebSocket')
}

/** `POST /v1/sandboxes/{id}/timeout`: renews the deadline, within the longest life of a session. */
export const renewSandbox: Door<SessionDoor & Pick<GatewayParts, 'bodies'>> = async (
  parts,
  { http, identity, params: { id = '' } },
) => {
  const held = ownSession(parts, identity, id)
  const { value } = await parts.bodies.json(http.incoming, http.outgoing, 'input', identity.tenant)
  return json(held.renew(checked(timeoutRequest, value, 'timeout').timeout))
}

/**
 * Session of this caller. Throws SESSION_ENDED with the outcome if a session of the caller has ended, also
 * before the last start of this server, CONFLICT while it is being opened, and NOT_FOUND for any other.
 */
export function ownSession(parts: SessionDoor, identity: Identity, id: string): OpenSession {
  const held = parts.sessions?.held
  const user = userOf(identity)
  if (held?.has(id)) return held.find(id, user)
  const row = parts.history.row(identity.tenant, id)
  if (!row?.session || (!user.isAdmin && row.session.openedBy !== identity.principal))
    throw new MayflyError('NOT_FOUND', 'Cannot find this sandbox')
  if (held?.stateOf(id) === 'running')
    throw new MayflyError('CONFLICT', 'Cannot use this sandbox yet: it is being opened', {
      retryAfterMs: 1000,
    })
  const text = parts.history.outcome(identity.tenant, id)
  // Written by this server.
  throw sessionEndedAs(text === undefined ? undefined : (parseJson(text) as Outcome), row.at)
}

export function userOf(identity: Identity): SessionUser {
  const { tenant, principal } = identity
  return { tenant, principal, isAdmin: isAdmin(identity) }
}

function ownerOf({ incoming }: HttpBindings, { tenant, principal }: Identity): SessionOwner {
  return { tenant, principal, origin: 'http', ...traceOf(incoming) }
}

export function served({ sessions }: SessionParts): ServedSessions {
  return requirePart(sessions, 'Cannot open a session: sessions are disabled on this server')
}

/** Takes the job slots of a session at server and tenant; its outcome is stored unless the session belongs to a page. */
function takeSlots(
  parts: JobStart & SessionParts,
  job: Job,
): SessionPlace & Pick<QuotaSlot, 'account'> {
  const isKept = job.origin !== 'page'
  const bytes = requestBytesOf(job)
  parts.running.refuseAtShare(job.tenant)
  using undo = new DisposableStack()
  const slot = undo.use(parts.running.begin(job.tenant, bytes))
  const row = { ...rowOf(parts, job), session: { openedBy: job.principal } }
  const quota = parts.quotas.begin(job.tenant, bytes)
  undo.defer(() => quota.end({ cpuMs: 0, bytesOut: 0 }))
  if (isKept) parts.history.begin(job.tenant, { ...row, status: 'running' })
  undo.move()
  // From here to its end it is known to be under way, also before it is open, so that nobody is told that it has ended.
  const life = Promise.withResolvers<void>()
  void parts.sessions?.held.making(job.id, () => life.promise)
  return {
    signal: slot.signal,
    account: quota.account,
    /** Charges the work between execs only, because each exec was charged by itself. */
    end(outcome: Outcome | undefined, chargedMs = 0): void {
      const cpuMs = Math.max(0, (outcome?.metrics.cpuTime ?? 0) - chargedMs)
      quota.end({ cpuMs, bytesOut: 0 })
      slot[Symbol.dispose]()
      life.resolve()
      if (!outcome || !isKept) return
      const ended = { ...endedRow(row, outcome), session: row.session }
      keep(parts, job.tenant, ended, { text: JSON.stringify(outcome) })
    },
  }
}

/** Throws MayflyError INVALID. */
function pathOf({ incoming }: HttpBindings, isNeeded: boolean): string | undefined {
  const path = new URL(incoming.url ?? '', 'http://query').searchParams.get('path') ?? undefined
  if (path === undefined && !isNeeded) return undefined
  const isPlain = path !== undefined && path !== '' && path.length <= PATH_CHARACTERS_MAX
  const parts = path?.split('/') ?? []
  if (isPlain && !path.startsWith('/') && !parts.includes('..') && !path.includes('\0')) return path
  throw new MayflyError(
    'INVALID',
    'Cannot use the path: expected a path below the working folder',
    {
      details: [{ path: 'path', message: 'expected a relative path, such as data/rows.csv' }],
    },
  )
}
