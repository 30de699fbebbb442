import type { HttpBindings } from '@hono/node-server'
import { MayflyError } from '../contract/error.ts'
import { jobRequest, type Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import { newId } from '../lib/id.ts'
import type { StrictJson } from '../lib/strict-json.ts'
import { authenticate, authorise } from './auth.ts'
import type { Door } from './door.ts'
import type { Identity } from './keys.ts'
import { senderOf } from './origin.ts'
import { invalid, problemOfOutcome, problemResponse } from './problem.ts'
import { addressGroup } from './rate.ts'
import { activeContent } from './schema.ts'

/** `POST /v1/executions`: a job in, an outcome out. */
export async function execute(door: Door, http: HttpBindings, who: Identity): Promise<Response> {
  door.running.refuseWhenDraining()
  const body = await door.bodies.json(http.incoming, http.outgoing, 'input')
  const asked = jobRequest.safeParse(body.value)
  if (!asked.success) throw invalid('job', asked.error)
  return answer(door, http, makeJob(door, asked.data, body, { ...who, origin: 'http' }))
}

/**
 * `POST /active-content`: one piece of active content, by the session token of a page or by an API key. A token is
 * in the body, so that is read first, by the bound and by what its address may ask for; nothing else is looked at
 * before the token holds.
 */
export async function executeActiveContent(door: Door, http: HttpBindings): Promise<Response> {
  door.running.refuseWhenDraining()
  const { incoming, outgoing } = http
  const sender = senderOf(incoming, door.names)
  const owner = ownerOf(door, http)
  const body = await door.bodies.json(incoming, outgoing, 'input')
  if (owner) return answer(door, http, contentJob(door, body, { ...owner, origin: 'http' }))
  if (!door.tokens)
    throw new MayflyError('UNAUTHENTICATED', 'Cannot take a session token: this server gives none')
  const session = door.tokens.verify(memberOf(body.value, 'sessionToken'), sender)
  const who = { tenant: door.pageTenant, principal: `page:${session.id}`, origin: 'page' } as const
  const job = contentJob(door, body, who)

  using _place = door.tokens.begin(session)
  return await answer(door, http, job)
}

type Who = Pick<Job, 'tenant' | 'principal' | 'origin'>

/** The owner of the API key, if one was brought. Without one the address has its share, and no more. */
function ownerOf(door: Door, { incoming }: HttpBindings): Identity | undefined {
  const { authorization } = incoming.headers
  if (authorization !== undefined) {
    const identity = authenticate(authorization, door.keys)
    authorise(identity, ['run'])
    return identity
  }
  const wait = door.addressRate.take(addressGroup(incoming.socket.remoteAddress))
  if (wait === 0) return undefined
  throw new MayflyError('RATE_LIMITED', 'Cannot take more from this address now', {
    retryAfterMs: wait,
  })
}

function contentJob(door: Door, body: StrictJson, who: Who): Job {
  const content = activeContent.safeParse(body.value)
  if (!content.success) throw invalid('active content', content.error)
  const { content: code, language, input } = content.data
  const asked = jobRequest.safeParse({
    code,
    input,
    ...(language === undefined ? {} : { language }),
  })
  if (!asked.success) throw invalid('active content', asked.error)
  return makeJob(door, asked.data, body, who)
}

function makeJob(
  door: Door,
  asked: Omit<Job['asked'], 'code'> & { readonly code?: string | undefined },
  body: StrictJson,
  who: Who,
): Job {
  const code = codeOf(asked)
  return {
    id: newId('exec', door.clock.date()),
    tenant: who.tenant,
    principal: who.principal,
    origin: who.origin,
    at: door.clock.now(),
    asked: { ...asked, code },
    inputText: body.kept ?? 'null',
  }
}

function codeOf(asked: {
  readonly code?: string | undefined
  readonly effectId?: string | undefined
}): string {
  const { code, effectId } = asked
  if (code === undefined && effectId !== undefined) {
    throw new MayflyError('NOT_FOUND', `Cannot find the effect "${effectId}"`)
  }
  if (code === undefined)
    throw wrong('code', 'expected code, or the effectId of code that was registered')
  if (effectId !== undefined) throw wrong('effectId', 'expected either code or effectId')
  if (!code.isWellFormed()) throw wrong('code', 'expected text without lone surrogates')
  return code
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

/**
 * Sends the job down the road, and cancels it when its client goes away. It counts as under way until its answer is
 * written: a server that drains waits for that too.
 */
async function answer(door: Door, { outgoing }: HttpBindings, job: Job): Promise<Response> {
  const ticket = door.running.begin()
  const gone = () => {
    ticket.cancel()
    ticket[Symbol.dispose]()
  }
  outgoing.once('close', gone)
  if (outgoing.destroyed) gone()
  return outcomeResponse(await door.road(job, { signal: ticket.signal }))
}

function outcomeResponse(outcome: Outcome): Response {
  if (outcome.status === 'blocked' || outcome.status === 'unavailable') {
    return problemResponse(problemOfOutcome(outcome))
  }
  return new Response(JSON.stringify(outcome), {
    headers: {
      'content-type': 'application/json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    },
  })
}
