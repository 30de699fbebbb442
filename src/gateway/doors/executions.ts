import type { IncomingMessage } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import { jobRequest, type Job, type JobAsked, type JobRequest } from '../../contract/job.ts'
import { makeJob } from '../../contract/make-job.ts'
import { presets } from '../../contract/presets.ts'
import { effectJob } from '../../effects/effect-job.ts'
import { batchTextOf } from '../../job.ts'
import type { StrictJson } from '../../lib/strict-json.ts'
import type { Door } from './door.ts'
import { answerContent, answerJob, type AnswerParts, type GivingParts } from './answer-job.ts'
import { authenticateRequest, refuseChanged, refuseOver } from '../http/authenticate-request.ts'
import { authorise } from '../http/auth.ts'
import type { Authentication, GatewayParts, JobIntake, Visitors } from '../http/parts.ts'
import type { Identity } from '../http/keys.ts'
import { anonymousAt } from '../http/body.ts'
import { bodyDigest } from '../http/idempotency.ts'
import { senderOf } from '../http/origin.ts'
import { checked } from '../../contract/checked.ts'
import { clientGroup } from '../http/client-address.ts'
import { activeContent } from '../http/schema.ts'
import type { JobQuotas } from '../http/quota.ts'
import { traceOf } from '../http/request-trace.ts'
import type { VisitorSession } from '../http/session-token.ts'

/** `POST /v1/executions`: a job in, an outcome out. */
export const execute: Door<AnswerParts & JobIntake> = async (parts, { http, identity }) => {
  parts.running.refuseWhenDraining()
  const owner = { ...identity, origin: 'http', ...traceOf(http.incoming) } as const
  const { body, job } = await parts.bodies.jsonAs(http.incoming, http.outgoing, {
    keep: 'input',
    of: identity.tenant,
    use: (given) => ({ body: given, job: readJob(parts, given, owner) }),
  })
  return answerJob(parts, http, { job, digest: () => bodyDigest(body, 'input') })
}

/**
 * `POST /active-content`: runs one piece of active content, by a page's session token or by an API key. A token is
 * part of the body, so the body is read before authentication, within the anonymous byte limit and the rate limit of
 * the address; nothing else is parsed before the token is verified.
 */
export const executeActiveContent: Door<
  ContentParts & GivingParts & Pick<GatewayParts, 'bodies'>
> = async (parts, { http }) => {
  parts.running.refuseWhenDraining()
  const { of, read } = contentReader(parts, http, 'http')
  const body = await parts.bodies.json(http.incoming, http.outgoing, 'input', of)
  const { job, quotas, begin } = read(body)

  using _place = begin()
  return await answerContent({ ...parts, quotas }, http, job)
}

/** Active content that may run; `begin` takes a job slot of its session, where sessions have a limit. */
export interface ActiveContentJob {
  readonly job: Job
  /** Quotas of its tenant, or of its visitor. */
  readonly quotas: JobQuotas
  readonly begin: () => Disposable | undefined
}

/** Sender of a body as known before the body arrives, and the function that reads the body. */
export interface ContentReader {
  /** Tenant name, or `anonymousAt` an address. */
  readonly of: string
  readonly read: (body: StrictJson) => ActiveContentJob
  /** Streams the plan of the life as the first frame. */
  readonly sendsPlan?: boolean
}

/** Needs of a reader of active content, by key or by session token. */
export type ContentParts = Authentication & Visitors & JobIntake & Pick<GatewayParts, 'names'>

/** Checks headers before the body arrives; returns the reader of that body. Both throw MayflyError. */
export function contentReader(
  parts: ContentParts,
  http: Pick<HttpBindings, 'incoming'>,
  origin: 'http' | 'websocket',
): ContentReader {
  const sender = senderOf(http.incoming, parts.names)
  const trace = traceOf(http.incoming)
  const owner = ownerOf(parts, http)
  // Refuses before reading the body: without a key the caller would need a token, and this server issues none.
  if (!owner && !parts.tokens) throw noTokens()
  const read = (body: StrictJson): ActiveContentJob => {
    if (owner) {
      refuseChanged(parts, http.incoming, owner)
      const job = contentJob(parts, body, { ...owner, origin, ...trace })
      return { job, quotas: parts.quotas, begin: () => undefined }
    }
    if (!parts.tokens) throw noTokens()
    const { tokens } = parts
    const session = tokens.verify(memberOf(body.value, 'sessionToken'), sender)
    const identity = {
      tenant: parts.pageTenant,
      principal: `page:${session.id}`,
      origin: 'page',
    } as const
    const job = contentJob(parts, body, { ...identity, ...trace })
    const quotas = quotasOf(parts, http.incoming, session)
    return { job, quotas, begin: () => tokens.begin(session) }
  }
  return { of: owner?.tenant ?? anonymousAt(http.incoming), read, sendsPlan: true }
}

/** Quotas of a visitor: of its token, and of its address over all its tokens. */
export function quotasOf(
  { quotas, pageTenant }: Pick<Visitors, 'quotas' | 'pageTenant'>,
  incoming: IncomingMessage,
  { id }: VisitorSession,
): JobQuotas {
  return quotas.ofVisitor(pageTenant, { token: id, address: clientGroup(incoming) })
}

/** The body of `POST /v1/executions` as a job. Throws MayflyError INVALID or NOT_FOUND. */
export function readJob(parts: JobIntake, body: StrictJson, identity: JobOwner): Job {
  return makeHttpJob(parts, checked(jobRequest, body.value, 'job'), body, identity)
}

export function noTokens(): MayflyError {
  return new MayflyError(
    'UNAUTHENTICATED',
    'Cannot accept a session token: page sessions are disabled on this server',
  )
}

type JobOwner = Pick<Job, 'tenant' | 'principal' | 'origin' | 'traceparent'>

/** Owner of the API key; undefined without one, in which case the rate limit of the address applies. */
function ownerOf(
  parts: Authentication,
  http: Pick<HttpBindings, 'incoming'>,
): Identity | undefined {
  if (http.incoming.headers.authorization !== undefined) {
    const identity = authenticateRequest(parts, http)
    authorise(identity, ['run'])
    return identity
  }
  refuseOver(parts.addressRate.take(clientGroup(http.incoming)))
  return undefined
}

function contentJob(parts: JobIntake, body: StrictJson, identity: JobOwner): Job {
  const content = checked(activeContent, body.value, 'active content')
  const { content: code, language, input, schedule, artifacts } = content
  const asked: JobRequest = {
    code,
    input,
    ...(language && { language }),
    ...(artifacts && { artifacts }),
    ...(schedule && { schedule, network: networkWith(schedule) }),
  }
  return makeHttpJob(parts, checked(jobRequest, asked, 'active content'), body, identity)
}

/** Network granted by a preset: active content cannot request network itself. */
export function networkWith(schedule: string): NonNullable<JobRequest['network']> {
  const hosts = presets()[schedule]?.network ?? []
  return hosts.length > 0 ? { allow: [...hosts] } : 'none'
}

/** Job of a request over HTTP. Throws MayflyError INVALID or NOT_FOUND if there is no code to run. */
export function makeHttpJob(
  parts: JobIntake,
  asked: JobAsked,
  body: Pick<StrictJson, 'kept'>,
  { tenant, principal, origin, traceparent }: JobOwner,
): Job {
  const owner = { tenant, principal, origin, ...(traceparent !== undefined && { traceparent }) }
  const made = makeJob(withCode(parts, asked, tenant), owner, parts.clock)
  return { ...made, inputText: batchTextOf(asked, body.kept ?? 'null') }
}

function withCode(
  parts: Pick<GatewayParts, 'effects'>,
  asked: JobAsked,
  tenant: string,
): Job['asked'] {
  const { code, effectId } = asked
  if (code === undefined && effectId !== undefined)
    return effectJob(parts.effects.get(tenant, effectId), asked)
  if (code === undefined)
    throw wrong('code', 'expected code, or the effectId of code that was registered')
  if (effectId !== undefined) throw wrong('effectId', 'expected either code or effectId')
  if (!code.isWellFormed()) throw wrong('code', 'expected text without lone surrogates')
  return { ...asked, code }
}

function wrong(path: string, message: string): MayflyError {
  return new MayflyError('INVALID', `Cannot accept the job: "${path}": ${message}`, {
    details: [{ path, message }],
  })
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}
