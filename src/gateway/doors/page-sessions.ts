import type { HttpBindings } from '@hono/node-server'
import { sessionBusy } from '../../contract/exec.ts'
import type { Outcome } from '../../contract/outcome.ts'
import { lengthOf } from '../../contract/phase.ts'
import { sessionLanguages } from '../../contract/session.ts'
import type { OpenSession } from '../../sessions/open-sessions.ts'
import { execJob, readExec, readSession, sessionJob } from '../../sessions/session-job.ts'
import { answerContent, outcomeResponse, wantsStream, watchJob } from './answer-job.ts'
import type { Door } from './door.ts'
import { networkWith, noTokens, quotasOf } from './executions.ts'
import { filesAnswer, openHeld, served } from './sessions.ts'
import { refuseOver } from '../http/authenticate-request.ts'
import { anonymousAt } from '../http/body.ts'
import { json, jsonText } from '../http/json-response.ts'
import { LiveOutput } from '../http/live-output.ts'
import { LiveTimeline } from '../http/live-timeline.ts'
import { senderOf } from '../http/origin.ts'
import type { PageSession } from '../http/page-sessions.ts'
import type { GatewayParts, JobStart } from '../http/parts.ts'
import { checked } from '../../contract/checked.ts'
import { clientGroup } from '../http/client-address.ts'
import { traceOf } from '../http/request-trace.ts'
import { pageExec, pageSession } from '../http/schema.ts'
import type { VisitorSession } from '../http/session-token.ts'

/**
 * Sessions of page visitors, for a notebook. Separate from `/v1/sandboxes`, because a token is not an API key: a visitor
 * chooses only a language, a preset and code, reaches only its own sessions, and the token expires soon.
 */
type PageDoor = Door<GatewayParts>

/** Time until a session ends: since its opening, last exec or renewal (`heldMs`), and in total (`lifeMsMax`). */
const heldMs = 5 * 60_000
const lifeMsMax = 15 * 60_000

/** Candidates for a language of a notebook; the first one for which a wall supports sessions is used. */
const candidates: Readonly<Record<'python' | 'javascript', readonly string[]>> = {
  python: ['python'],
  javascript: ['js', 'node'],
}

/** `POST /active-content/sessions`: opens a session, which counts as a running job of its visitor until it ends. */
export const openPageSession: PageDoor = async (parts, { http }) => {
  parts.running.refuseWhenDraining()
  served(parts)
  const { tokens, visitor, owner, quotas } = visitorOf(parts, http)
  const { value } = await bodyOf(parts, http)
  const { language, schedule } = checked(pageSession, value, 'session')

  using places = new DisposableStack()
  places.use(parts.pageSessions.begin(clientGroup(http.incoming)))
  places.use(tokens.begin(visitor))
  const given = { timeout: heldMs, ...(schedule && { schedule, network: networkWith(schedule) }) }
  const life = new LifeFeed(parts)
  const known = candidates[language].filter((one) => sessionLanguages.some((name) => name === one))
  let refusal: Outcome | undefined
  for (const one of known) {
    const asked = readSession({ ...given, language: one })
    const job = sessionJob(asked, owner, parts.clock)
    const opened = await openHeld({ ...parts, quotas }, { job, asked, on: life.on })
    if (opened.kind === 'open') {
      const made = life.of(opened.held, visitor)
      register(parts, made, places.move())
      if (http.outgoing.destroyed) void opened.held.close().catch(() => undefined)
      return jsonText(201, JSON.stringify(rowOf(parts, made)))
    }
    refusal = opened.outcome
    if (refusal.status !== 'unavailable') break
  }
  return outcomeResponse({ outcome: refusal!, text: JSON.stringify(refusal) })
}

/** `POST …/{id}/run`: one exec, in the forms of active content. Postpones the end of the session. */
export const runInPageSession: PageDoor = async (parts, { http, params: { id = '' } }) => {
  const { tokens, visitor, owner, quotas } = visitorOf(parts, http)
  const one = parts.pageSessions.find(id, visitor.id)
  const { value } = await bodyOf(parts, http)
  const { code } = checked(pageExec, value, 'exec')
  const { held } = one
  if (held.session.isBusy) throw sessionBusy()
  tokens.take(visitor)
  renew(parts, one)
  const asked = readExec({ code, artifacts: 'inline' })
  const job = execJob(asked, { id, asked: held.asked }, owner, parts.clock)
  return await answerContent({ ...parts, quotas, road: interruptible(one) }, http, job)
}

/** `POST …/{id}/interrupt`: interrupts the running exec, whose own response reports how it ended. */
export const interruptPageSession: PageDoor = (parts, { http, params: { id = '' } }) => {
  const { interrupt } = ownSession(parts, http, id)
  interrupt?.()
  return json({ interrupted: interrupt !== undefined })
}

/** `POST …/{id}/timeout`: postpones the end, within the maximum lifetime of a visitor's session. */
export const renewPageSession: PageDoor = (parts, { http, params: { id = '' } }) => {
  const one = ownSession(parts, http, id)
  renew(parts, one)
  return json(rowOf(parts, one))
}

/** `GET …/{id}`: the row of the session, or its timeline as an event stream that ends with the outcome. */
export const readPageSession: PageDoor = async (parts, { http, params: { id = '' } }) => {
  const one = ownSession(parts, http, id)
  const { method, headers } = http.incoming
  return method === 'GET' && wantsStream(headers)
    ? await watchJob(parts, http, one, anonymousAt(http.incoming))
    : json(rowOf(parts, one))
}

/** `GET …/{id}/files`: lists the working folder; with `?path=`, the bytes of that file. */
export const pageSessionFiles: PageDoor = async (parts, { http, params: { id = '' } }) => {
  const { visitor, quotas } = visitorOf(parts, http)
  const { files } = parts.pageSessions.find(id, visitor.id).held.session
  const of = anonymousAt(http.incoming)
  return await filesAnswer({ ...parts, quotas }, http, { tenant: parts.pageTenant, of }, files)
}

/** `DELETE …/{id}`: closes the session and returns its outcome. */
export const closePageSession: PageDoor = async (parts, { http, params: { id = '' } }) =>
  json(await ownSession(parts, http, id).held.close())

/** Reads the body of a visitor, within the limits of anonymous bodies of its address. */
async function bodyOf(
  { bodies }: Pick<GatewayParts, 'bodies'>,
  { incoming, outgoing }: HttpBindings,
) {
  return await bodies.json(incoming, outgoing, 'input', anonymousAt(incoming))
}

function ownSession(parts: GatewayParts, http: HttpBindings, id: string): PageSession {
  return parts.pageSessions.find(id, visitorOf(parts, http).visitor.id)
}

/** Visitor of the request's token. Throws MayflyError UNAUTHENTICATED, also for an API key, and RATE_LIMITED. */
function visitorOf(parts: GatewayParts, { incoming }: HttpBindings) {
  const { tokens } = parts
  refuseOver(parts.addressRate.take(clientGroup(incoming)))
  if (!tokens) throw noTokens()
  const token = /^bearer +(\S+)$/i.exec(incoming.headers.authorization ?? '')?.[1]
  const visitor = tokens.verify(token, senderOf(incoming, parts.names))
  const owner = {
    tenant: parts.pageTenant,
    principal: `page:${visitor.id}`,
    origin: 'page',
    ...traceOf(incoming),
  } as const
  return { tokens, visitor, owner, quotas: quotasOf(parts, incoming, visitor) }
}

/** Event feed of a session's life for its page. */
class LifeFeed {
  readonly #clock: GatewayParts['clock']
  readonly #timeline: LiveTimeline
  readonly #output = new LiveOutput()

  constructor({ clock }: Pick<GatewayParts, 'clock'>) {
    this.#clock = clock
    this.#timeline = new LiveTimeline(clock)
  }

  readonly on = (entry: Parameters<LiveTimeline['on']>[0]): void => {
    this.#timeline.on(entry)
    this.#output.push('event', JSON.stringify(entry))
  }

  of(held: OpenSession, { id }: VisitorSession): PageSession {
    this.#timeline.onPlan(held.session.profile)
    const ended = held.session.ended.then((outcome) => JSON.stringify(outcome))
    ended.catch(() => undefined)
    return {
      visitor: id,
      held,
      timeline: this.#timeline,
      output: this.#output,
      ended,
      lastAt: this.#clock.now() + Math.min(lifeMsMax, plannedMs(held)),
      interrupt: undefined,
    }
  }
}

/** Length of the schedule, at most the maximum lifetime of a session. */
function plannedMs({ session: { profile } }: OpenSession): number {
  return Math.min(lengthOf(profile.schedule.phases), profile.limits.timeout)
}

/** Registers the session, and releases its slots when it ends. */
function register({ pageSessions }: GatewayParts, one: PageSession, places: Disposable): void {
  pageSessions.add(one)
  const over = (outcome?: Outcome): void => {
    one.output.end()
    pageSessions.end(one.held.session.id, outcome)
    places[Symbol.dispose]()
  }
  one.held.session.ended.then(over, () => over())
}

function renew({ clock }: GatewayParts, { held, lastAt }: PageSession): void {
  held.renew(Math.max(1, Math.min(heldMs, lastAt - clock.now())))
}

function interruptible(one: PageSession): JobStart['road'] {
  return async (job, caller) => {
    const stop = new AbortController()
    const interrupt = (): void => stop.abort()
    one.interrupt = interrupt
    try {
      const signal = AbortSignal.any([caller.signal, stop.signal])
      return await one.held.exec(job, { ...caller, signal })
    } finally {
      if (one.interrupt === interrupt) one.interrupt = undefined
    }
  }
}

/** Row with durations instead of dates, because the clock of a visitor may be wrong. */
function rowOf({ clock }: GatewayParts, { held, timeline, lastAt }: PageSession) {
  const { id, language, tier, provider, execs, busy, expiresAt } = held.row
  const lastMs = Math.max(0, lastAt - clock.now())
  const { age, plan, wall } = timeline.life
  return {
    id,
    language,
    tier,
    provider,
    execs,
    busy,
    age,
    wall,
    leftMs: Math.max(0, Math.min(lastMs, Date.parse(expiresAt) - clock.date())),
    lastMs,
    plan: { ...plan, msMax: Math.min(plan.msMax, age + lastMs) },
  }
}
