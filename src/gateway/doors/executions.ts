import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../../contract/error.ts'
import { jobRequest, type Job, type JobAsked, type JobRequest } from '../../contract/job.ts'
import { presets } from '../../contract/presets.ts'
import { askedOf } from '../../effects/asked.ts'
import { canonicalJson } from '../../lib/canonical-json.ts'
import { sha256 } from '../../lib/hash.ts'
import { batchTextOf } from '../../job.ts'
import { newId } from '../../lib/id.ts'
import type { StrictJson } from '../../lib/strict-json.ts'
import { answerAsAsked, answerContent } from './answer.ts'
import { admit, refuseOver } from '../http/admit.ts'
import { authorise } from '../http/auth.ts'
import type { Door } from '../http/door.ts'
import type { Identity } from '../http/keys.ts'
import { strangers } from '../http/body.ts'
import { senderOf } from '../http/origin.ts'
import { invalid } from '../http/problem.ts'
import { addressGroup } from '../http/rate.ts'
import { activeContent } from '../http/schema.ts'
import { traceOf } from '../http/trail.ts'

/** `POST /v1/executions`: a job in, an outcome out. */
export async function execute(door: Door, http: HttpBindings, who: Identity): Promise<Response> {
  door.running.refuseWhenDraining()
  const body = await door.bodies.json(http.incoming, http.outgoing, 'input', who.tenant)
  const job = readJob(door, body, { ...who, origin: 'http', ...traceOf(http.incoming) })
  return answerAsAsked(door, http, { job, digest: () => digestOf(body) })
}

/**
 * `POST /active-content`: one piece of active content, by the session token of a page or by an API key. A token is
 * in the body, so that is read first, by the bound and by what its address may ask for; nothing else is looked at
 * before the token holds.
 */
export async function executeActiveContent(door: Door, http: HttpBindings): Promise<Response> {
  door.running.refuseWhenDraining()
  const { of, read } = contentReader(door, http, 'http')
  const { job, begin } = read(await door.bodies.json(http.incoming, http.outgoing, 'input', of))

  using _place = begin()
  return await answerContent(door, http, job)
}

/** A piece of content that may run; `begin` takes a place for it, where its session has only so many. */
export interface Content {
  readonly job: Job
  readonly begin: () => Disposable | undefined
}

/** Who sends a body, as far as that is known before it is there, and what reads it. */
export interface Reader {
  /** A tenant, or `strangers`. */
  readonly of: string
  readonly read: (body: StrictJson) => Content
  /** Whether a stream of it begins with the plan of its life. */
  readonly hearsPlan?: boolean
}

/** Checks what can be known before the body is there; what it returns reads that. Both throw MayflyError. */
export function contentReader(
  door: Door,
  http: Pick<HttpBindings, 'incoming'>,
  origin: 'http' | 'websocket',
): Reader {
  const sender = senderOf(http.incoming, door.names)
  const trace = traceOf(http.incoming)
  const owner = ownerOf(door, http)
  // Who would need a token of a server that gives none is told so before anything is read.
  if (!owner && !door.tokens) throw noTokens()
  const read = (body: StrictJson): Content => {
    if (owner) {
      const job = contentJob(door, body, { ...owner, origin, ...trace })
      return { job, begin: () => undefined }
    }
    if (!door.tokens) throw noTokens()
    const { tokens } = door
    const session = tokens.verify(memberOf(body.value, 'sessionToken'), sender)
    const who = {
      tenant: door.pageTenant,
      principal: `page:${session.id}`,
      origin: 'page',
    } as const
    const job = contentJob(door, body, { ...who, ...trace })
    return { job, begin: () => tokens.begin(session) }
  }
  return { of: owner?.tenant ?? strangers, read, hearsPlan: true }
}

/** The body of `POST /v1/executions` as a job. Throws MayflyError INVALID or NOT_FOUND. */
export function readJob(door: Door, body: StrictJson, who: Who): Job {
  const asked = jobRequest.safeParse(body.value)
  if (!asked.success) throw invalid('job', asked.error)
  return makeJob(door, asked.data, body, who)
}

function noTokens(): MayflyError {
  return new MayflyError('UNAUTHENTICATED', 'Cannot take a session token: this server gives none')
}

/** Of what a body says, whatever its white space; numbers of the input count as they were written. */
function digestOf({ value, kept }: StrictJson): string {
  return sha256(`${canonicalJson(value)}\0${kept ?? ''}`)
}

type Who = Pick<Job, 'tenant' | 'principal' | 'origin' | 'traceparent'>

/** The owner of the API key, if one was brought. Without one the address has its share, and no more. */
function ownerOf(door: Door, http: Pick<HttpBindings, 'incoming'>): Identity | undefined {
  const { headers, socket } = http.incoming
  if (headers.authorization !== undefined) {
    const identity = admit(door, http)
    authorise(identity, ['run'])
    return identity
  }
  refuseOver(door.addressRate.take(addressGroup(socket.remoteAddress)))
  return undefined
}

function contentJob(door: Door, body: StrictJson, who: Who): Job {
  const content = activeContent.safeParse(body.value)
  if (!content.success) throw invalid('active content', content.error)
  const { content: code, language, input, schedule, artifacts } = content.data
  const asked = jobRequest.safeParse({
    code,
    input,
    ...(language && { language }),
    ...(artifacts && { artifacts }),
    ...(schedule && { schedule, network: networkWith(schedule) }),
  } satisfies JobRequest)
  if (!asked.success) throw invalid('active content', asked.error)
  return makeJob(door, asked.data, body, who)
}

/** The network granted with a preset: the caller of active content cannot ask for one. */
function networkWith(schedule: string): NonNullable<JobRequest['network']> {
  const hosts = presets[schedule]?.network ?? []
  return hosts.length > 0 ? { allow: [...hosts] } : 'none'
}

/** Throws MayflyError INVALID or NOT_FOUND where there is no code to run. */
export function makeJob(
  door: Door,
  asked: JobAsked,
  body: Pick<StrictJson, 'kept'>,
  who: Who,
): Job {
  return {
    id: newId('exec', door.clock.date()),
    tenant: who.tenant,
    principal: who.principal,
    origin: who.origin,
    ...(who.traceparent !== undefined && { traceparent: who.traceparent }),
    at: door.clock.now(),
    asked: withCode(door, asked, who.tenant),
    inputText: batchTextOf(asked, body.kept ?? 'null'),
  }
}

function withCode(door: Door, asked: JobAsked, tenant: string): Job['asked'] {
  const { code, effectId } = asked
  if (code === undefined && effectId !== undefined)
    return askedOf(door.effects.get(tenant, effectId), asked)
  if (code === undefined)
    throw wrong('code', 'expected code, or the effectId of code that was registered')
  if (effectId !== undefined) throw wrong('effectId', 'expected either code or effectId')
  if (!code.isWellFormed()) throw wrong('code', 'expected text without lone surrogates')
  return { ...asked, code }
}

function wrong(path: string, message: string): MayflyError {
  return new MayflyError('INVALID', `Cannot take the job: "${path}": ${message}`, {
    details: [{ path, message }],
  })
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}
