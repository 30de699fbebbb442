import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import type { Job } from '../../contract/job.ts'
import type { Outcome } from '../../contract/outcome.ts'
import { MayflyError } from '../../contract/error.ts'
import type { GatewayParts, JobStart, StoredOutcomes } from '../http/parts.ts'
import { SseStream } from '../http/event-stream.ts'
import { claimIdempotencyKey, findIdempotencyKey, type KnownAnswer } from '../http/idempotency.ts'
import { holdAnswer, readerOf, refuseUnread } from './stored-outcome.ts'
import type { LiveJob } from '../http/live-jobs.ts'
import { problemOf, problemOfOutcome, problemResponse } from '../http/problem.ts'
import { jsonText } from '../http/json-response.ts'
import { startJob, type JobEnd, type StartedJob, type StartOptions } from '../http/start-job.ts'
import { parseJson } from '../../lib/parse-json.ts'

/**
 * Answers one job in the form its headers name: the outcome, an event stream, or 202 with the location of the
 * outcome. `digest` hashes the body. A job under an idempotency key survives its client; any other is cancelled when
 * the client disconnects.
 */
export async function answerJob(
  parts: AnswerParts,
  http: HttpBindings,
  { job, digest }: { readonly job: Job; readonly digest: () => string },
): Promise<Response> {
  const { form, key } = wishOf(http.incoming.headers)
  if (form !== 'later') refuseUnread(parts, job.tenant)
  if (key === undefined) return forms[form](parts, http, job, {})
  const { tenant, principal, id } = job
  const claimed = await parts.bodies.turn(tenant, () => {
    const asked = { tenant, principal, key, digest: digest(), id }
    const claim = claimIdempotencyKey(parts.history, parts.live, asked)
    if (claim.kind === 'done') return heldEnd(parts, http, tenant, claim)
    // The job begins some ticks after this turn, and the next turn may be a request with the same key.
    parts.live.expect(id)
    return claim
  })
  if (claimed.kind === 'done') return repeat(parts, http, claimed, form)
  const onNotRun = (): void => {
    parts.live.forgo(id)
    claimed.release()
  }
  return forms[form](parts, http, job, { outlivesCaller: true, onNotRun })
}

/**
 * Answer of the job that holds the idempotency key of this request; undefined for a new key, and without one. For a door
 * that refuses what the first request could do, such as an exec in a session that it ended. Throws as `answerJob` does.
 */
export async function repeatedAnswer(
  parts: StoredOutcomes & Pick<GatewayParts, 'live' | 'limits'>,
  http: HttpBindings,
  { tenant, principal }: Pick<Job, 'tenant' | 'principal'>,
  digest: () => string,
): Promise<Response | undefined> {
  const { form, key } = wishOf(http.incoming.headers)
  if (key === undefined) return undefined
  if (form !== 'later') refuseUnread(parts, tenant)
  const known = await parts.bodies.turn(tenant, () => {
    const asked = { tenant, principal, key, digest: digest() }
    const found = findIdempotencyKey(parts.history, parts.live, asked)
    return found && heldEnd(parts, http, tenant, found)
  })
  return known && repeat(parts, http, known, form)
}

/** Reads a stored outcome, whose size is charged to its reader. */
function heldEnd(
  parts: Pick<GatewayParts, 'answers'>,
  http: HttpBindings,
  tenant: string,
  known: KnownAnswer,
): KnownAnswer & JobEnd {
  holdAnswer(parts, http, tenant, known.text)
  return { ...known, outcome: parseJson(known.text) as Outcome }
}

/** Dependencies of the three forms of a response. */
export type GivingParts = JobStart & Pick<GatewayParts, 'answers' | 'limits'>
/** Dependencies of a response that may be replayed by its idempotency key. */
export type AnswerParts = GivingParts & StoredOutcomes

type Form = 'whole' | 'stream' | 'later'
type Give = (
  parts: GivingParts,
  http: HttpBindings,
  job: Job,
  options: Omit<StartOptions, 'send'>,
) => Promise<Response>

function wishOf(headers: IncomingHttpHeaders): { form: Form; key: string | undefined } {
  const isStream = wantsStream(headers)
  const prefer = String(headers['prefer'] ?? '')
  const isLater = /(?:^|[,;])\s*respond-async\s*(?:$|[,;])/i.test(prefer)
  const key = headers['idempotency-key']
  return {
    form: isStream ? 'stream' : isLater ? 'later' : 'whole',
    key: key === undefined ? undefined : String(key),
  }
}

const whole: Give = async (parts, http, job, options) => {
  const started = startJob(parts, job, options)
  follow(http.outgoing, started, options.outlivesCaller === true)
  const ended = await started.ended
  holdAnswer(parts, http, readerOf(http, job), ended.text, job.id)
  return outcomeResponse(ended)
}

/** Answers active content with its outcome, or as a stream that begins with its plan. */
export async function answerContent(
  parts: GivingParts,
  http: HttpBindings,
  job: Job,
): Promise<Response> {
  refuseUnread(parts, readerOf(http, job))
  return wantsStream(http.incoming.headers)
    ? stream(parts, http, job, { sendsPlan: true })
    : whole(parts, http, job, {})
}

const stream: Give = async (parts, http, job, options) => {
  const { outgoing } = http
  using events = new SseStream(outgoing, parts.limits.writeMs)
  const send = events.send.bind(events)
  const started = startJob(parts, job, { ...options, send })
  follow(outgoing, started, options.outlivesCaller === true)
  try {
    const ended = await started.ended
    holdAnswer(parts, http, readerOf(http, job), ended.text, job.id)
    if (!events.hasBegun && isProblem(ended.outcome)) return outcomeResponse(ended)
    void events.send('outcome', ended.text)
  } catch (thrown) {
    if (!events.hasBegun) throw thrown
    void events.send('problem', JSON.stringify(parts.refusals.problem(thrown)))
  }
  events.end()
  return alreadySent()
}

const later: Give = async (parts, _http, job, options) => {
  const started = startJob(parts, job, { ...options, outlivesCaller: true })
  started.ended
    .catch((thrown: unknown) => void parts.refusals.problem(thrown))
    .finally(started.answered)
  return jsonText(202, JSON.stringify({ id: job.id, status: 'queued' }), {
    location: `/v1/executions/${job.id}`,
    'preference-applied': 'respond-async',
  })
}

const forms: Readonly<Record<Form, Give>> = { whole, stream, later }

/** Replays the outcome of the job that used this idempotency key first. */
async function repeat(
  parts: Pick<GatewayParts, 'limits'>,
  http: HttpBindings,
  ended: JobEnd,
  form: Form,
): Promise<Response> {
  if (form !== 'stream' || isProblem(ended.outcome)) {
    return outcomeResponse(ended, { 'idempotent-replayed': 'true' })
  }
  return streamEnd(parts, http, ended.text)
}

/** Cancels a job when its client disconnects, unless the job outlives its caller. */
export function follow(
  outgoing: ServerResponse,
  started: StartedJob,
  outlivesCaller: boolean,
): void {
  const gone = (): void => {
    if (!outlivesCaller) {
      started.cancel()
      return started.answered()
    }
    void started.ended.catch(() => undefined).finally(started.answered)
  }
  outgoing.once('close', gone)
  if (outgoing.destroyed) gone()
}

/** Blocked and unavailable jobs are problems that carry their outcome. */
export function outcomeResponse(
  { outcome, text }: JobEnd,
  headers: Readonly<Record<string, string>> = {},
): Response {
  if (isProblem(outcome)) return problemResponse(problemOfOutcome(outcome), headers)
  return jsonText(200, text, headers)
}

/**
 * Streams a running job: stored frames after `Last-Event-ID`, then live ones, at last the outcome. The job continues
 * when the reader leaves, which is `of` a tenant or an address. Throws MayflyError RATE_LIMITED.
 */
export async function watchJob(
  parts: Pick<GatewayParts, 'answers' | 'limits'>,
  { incoming, outgoing }: HttpBindings,
  { output, ended }: Pick<LiveJob, 'output' | 'ended'>,
  of: string,
): Promise<Response> {
  if (output.isFull)
    throw new MayflyError('RATE_LIMITED', 'Cannot stream this execution: it has too many readers', {
      retryAfterMs: 1000,
    })
  const left = new AbortController()
  outgoing.once('close', () => left.abort())

  using events = new SseStream(outgoing, parts.limits.writeMs)
  events.begin()
  await output.watch(lastIdOf(incoming.headers), left.signal, events.send.bind(events))
  if (left.signal.aborted) return alreadySent()
  try {
    const text = await ended
    holdAnswer(parts, { outgoing }, of, text)
    void events.send('outcome', text)
  } catch (thrown) {
    void events.send('problem', JSON.stringify(problemOf(thrown)))
  }
  events.end()
  return alreadySent()
}

/** Streams the end of a finished job. */
export function streamEnd(
  parts: Pick<GatewayParts, 'limits'>,
  { outgoing }: HttpBindings,
  text: string,
): Response {
  using events = new SseStream(outgoing, parts.limits.writeMs)
  void events.send('outcome', text)
  events.end()
  return alreadySent()
}

export function wantsStream({ accept = '' }: IncomingHttpHeaders): boolean {
  return /(?:^|,)\s*text\/event-stream\s*(?:$|[,;])/i.test(accept)
}

/** Starts from the beginning for anything but a positive integer. */
function lastIdOf(headers: IncomingHttpHeaders): number {
  const id = Number(headers['last-event-id'])
  return Number.isSafeInteger(id) && id > 0 ? id : 0
}

function isProblem({ status }: Outcome): boolean {
  return status === 'blocked' || status === 'unavailable'
}

/** Marks the response as already written to the socket, for the hono bridge. */
function alreadySent(): Response {
  return new Response(null, { headers: { 'x-hono-already-sent': 'true' } })
}
