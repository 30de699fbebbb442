import { MayflyError } from '../contract/error.ts'
import { answerCalls } from '../capabilities/answer-calls.ts'
import type { Clock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import type { JobEntry, KeepCapture, Plan, Rooms, SessionRooms } from '../contract/pipeline.ts'
import type { Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Sandbox } from '../contract/provider.ts'
import type { Signed } from '../contract/signature.ts'
import type { Analysis, Verdict } from '../contract/verdict.ts'
import type { AuditRecord } from '../evidence/record.ts'
import { newJob } from '../job.ts'
import type { Mutex } from '../lib/mutex.ts'
import { live } from '../life.ts'
import { supervise } from '../lives/supervise.ts'
import type { LiveOperations } from '../operate/live-operations.ts'
import { createGate } from '../output/gate.ts'
import { compileSchema } from '../output/schema.ts'
import type { JobNeeds, Pool } from '../pool/pool.ts'
import type { ResultCache } from '../pool/result-cache.ts'
import { createProfiler } from '../profile/make-profile.ts'
import { forkProfile } from '../profile/fork-profile.ts'
import { withinSignature } from '../profile/within-signature.ts'
import type { Event, TimelineListener } from '../contract/event.ts'
import type { EventStream } from '../telemetry/event-stream.ts'
import type { EventForwarder } from '../watch/event-forwarder.ts'
import { zoneCosts } from '../zones/grant.ts'
import { observeZones } from '../zones/observe-zones.ts'
import {
  policyRefusalOf,
  unreadPolicyHint,
  unreadPolicyRefusalOf,
} from '../zones/unenforced-policy.ts'
import type { CodeAnalysis } from './code-analysis.ts'
import type { ImageLookups } from './image-lookups.ts'
import type { ProvedWalls } from './proved-walls.ts'
import type { HeadStart } from './head-start.ts'
import { isForMock, isNoStronger, namedBy } from './providers.ts'
import {
  endedFields,
  lostFields,
  plannedFields,
  recordEvent,
  emitWithheld,
} from './record-events.ts'
import { Forecast } from '../pool/forecast.ts'
import type { Watching } from './watching.ts'

export interface RoomParts {
  readonly config: () => Config
  readonly clock: Clock
  readonly emitter: EventStream
  readonly record: AuditRecord
  readonly walls: ProvedWalls
  readonly images: ImageLookups
  readonly ahead: HeadStart
  readonly code: CodeAnalysis
  readonly pool: Pool
  readonly cache: ResultCache
  readonly watching: Watching
  readonly forwarder: EventForwarder
  readonly operating: LiveOperations
  readonly keep: KeepCapture
  /** Removes and returns the name of the last stored capture of a run. */
  readonly takeBundle: (run: string) => string | undefined
  /** Serialises captures: each needs up to 64 MiB of memory in this process. */
  readonly captures: Mutex
  readonly shareTraffic: SessionRooms['shareTraffic']
}

export interface WiredRooms extends SessionRooms {
  /** Profile of a job without checking its signatures: for effects and plans of zones. */
  plan(job: Job, verdict: Verdict): Plan
}

/** Adapts the parts of this process to the rooms that the pipeline calls. */
export function createRooms(parts: RoomParts): WiredRooms {
  const { config, clock, walls, images, code, cache, watching } = parts
  const profile = createProfiler({
    config,
    providers: () => walls.facts,
    raised: (job, verdict) => watching.guard.floorFor(job, verdict),
    images: (job) => images.answersOf(job),
  })
  const forecast = new Forecast(clock)
  const rooms: WiredRooms = {
    clock,
    async ready(job) {
      if (job.asked.output.schema) compileSchema(job.asked.output.schema)
      const proved = namedBy(job, config()).map((name) => walls.proveNamed(name))
      await Promise.all([...begunFor(job, parts), ...proved, images.lookUp(job)])
    },
    verify: (job) => code.verify(job),
    analyse: (job, signed) => code.analyse(job, signed),
    async prove(job, { verdict }) {
      // Otherwise a weaker wall could be chosen merely because the right one is not proved yet.
      await walls.proveUntil(verdict.language, (next) => {
        const plan = profile(job, verdict)
        if (plan.kind !== 'run') return plan.kind === 'unavailable' ? 'yes' : 'served'
        if (!plan.standsIn) return plan.fallsShort ? 'yes' : 'served'
        return isNoStronger(next, plan.standsIn.taken) ? 'no' : 'yes'
      })
      const { provider, image } = profile(job, verdict).profile
      const own = walls.find(provider)?.images?.[verdict.language]
      if (image === own) await images.lookUpDefault(job, own)
    },
    profile: (job, verdict, signed: Signed, within = (plan) => plan) =>
      withinSignature(within(profile(job, verdict)), signed),
    plan: profile,
    recall: (job, planned, asker, run) => cache.recall(job, planned, asker, run),
    acquire(planned, job, analysis, signal, launch) {
      forecast.follow(job, analysis.verdict.digest)
      const isShort = () => forecast.isShort(job)
      const isSession = job.session?.kind === 'open'
      const code = repeatedCode(job, forecast)
      const asked = { ...zoneNeeds(walls, planned, job, analysis), isShort, isSession }
      const needs = { ...asked, launch, code }
      return parts.pool.acquire(planned, job, signal, needs)
    },
    supervise: (sandbox, planned, analysis, caller) =>
      supervised(parts, sandbox, planned, analysis, caller),
    takeBundle: ({ id }) => parts.takeBundle(id),
    watchSession: ({ id }, session) => watching.guard.observeSession(id, session),
    behaviorScore: ({ id }) => watching.guard.watching.findings(id).behaviorScore,
    answer: (job, { signal, hostCalls }) =>
      answerCalls((capability, asked, over) => {
        const { tenant, principal, traceparent } = job
        const trace = traceparent === undefined ? {} : { traceparent }
        const requester = { tenant, principal, origin: 'capability', capability, ...trace } as const
        const caller = { signal: AbortSignal.any([signal, over]) }
        return live(newJob(asked, requester, clock), rooms, caller)
      }, hostCalls),
    forkProfile,
    shareTraffic: parts.shareTraffic,
    tightens: (sandbox) => abilitiesOf(parts, sandbox).tightens,
    codeRuns: (session, { digest }, as) => watching.guard.codeRuns(session, digest, as),
    forked: (job, fields) => recordOf(parts, job, 'session/forked', fields),
    gate: createGate,
    recordStart: (job, verdict, plan) => recordStart(parts, job, verdict, plan),
    ...endings(parts, forecast),
    compared: (job, fields) => recordOf(parts, job, 'shadow/compared', fields),
  }
  return rooms
}

/** Parts of the head start that a job waits for. One that names a built-in wall needs no proof of another. */
function begunFor(job: Job, { ahead, config, walls }: RoomParts): readonly Promise<unknown>[] {
  const { provider } = job.asked
  if (isForMock(job, config())) {
    ahead.hold()
    return []
  }
  const isNamed = provider !== undefined && walls.isOwn(provider)
  return [ahead.warmed(), ...(isNamed ? [] : [ahead.proved()])]
}

/** Appends an event of a job to the record, and emits it. Throws MayflyError STATE. */
function recordOf(
  { record, emitter, clock }: RoomParts,
  { id: run, tenant, principal }: Job,
  point: 'shadow/compared' | 'session/forked',
  fields: Event['fields'],
): void {
  const actor = point === 'shadow/compared' ? 'shadow' : principal
  record.append({ ...recordEvent(point, fields, actor, clock), run }, tenant)
  emitter.emit(point, fields, { run })
}

/** Writes the admitted line first: a job that cannot be recorded emits no event and is not watched. */
function recordStart(
  { record, emitter, watching }: RoomParts,
  job: Job,
  verdict: Verdict,
  plan: Plan,
): JobEntry {
  const entry = record.begin(job, verdict, plan)
  const { tenant, origin, traceparent } = job
  const trace = traceparent === undefined ? {} : { traceparent }
  emitter.emit('job/admitted', { tenant, origin, ...trace }, { run: job.id })
  if (plan.kind === 'run' && plan.standsIn)
    emitter.emit('tier/stood-in', { ...plan.standsIn, tenant }, { run: job.id })
  emitter.emit('profile/made', plannedFields(plan), { run: job.id })
  // An exec belongs to the life of its session.
  if (job.session?.kind === 'exec') watching.guard.watching.execStarted(job.session.of)
  else watching.guard.begin(job, verdict, plan.profile)
  return { ...entry, end: (facts) => (emitWithheld(emitter, job.id, facts), entry.end(facts)) }
}

/** Digest by which runs of a job's code are told to repeat each other. A session has none: many end by their time as they should. */
function repeatedCode(job: Job, forecast: Forecast): string | undefined {
  return job.session === undefined ? forecast.codeOf(job) : undefined
}

function endings(
  { emitter, watching, pool, takeBundle }: RoomParts,
  forecast: Forecast,
): Pick<Rooms, 'ended' | 'lost'> {
  return {
    ended(job, outcome, tookMs) {
      forecast.note(job, outcome)
      pool.noteEnd(job, outcome.status, repeatedCode(job, forecast))
      watching.guard.end(job, outcome)
      emitter.emit('job/ended', endedFields(job, outcome, tookMs), { run: job.id })
    },
    lost(job, thrown, tookMs) {
      watching.guard.end(job)
      takeBundle(job.id)
      emitter.emit('job/unrecorded', lostFields(thrown, tookMs), { run: job.id })
    },
  }
}

/** Supervisor with its observers, outermost first: operator commands, zones, anomaly detection, wall events. */
function supervised(
  parts: RoomParts,
  sandbox: Sandbox,
  profile: Profile,
  analysis: Analysis,
  { signal, on, since }: Parameters<Rooms['supervise']>[3],
) {
  const { clock, emitter, watching, forwarder, operating, keep, captures: mutex } = parts
  const { guard } = watching
  const instance = analysis.kind === 'verdict' ? analysis.instance : undefined
  const learn = instance && watching.learn.bind(watching, instance)
  const mayCapture = (run: string) => guard.mayCapture(run)
  const abilities = abilitiesOf(parts, sandbox)
  const observers = [
    operating.observe({ sandbox, profile, clock, can: abilities }),
    observeZones({ sandbox, clock, schedule: profile.schedule, learn }),
    guard.observe(),
    forwarder.observe(),
  ]
  const onRecorded: TimelineListener = (entry, isKept) => (isKept ? on?.(entry) : undefined)
  return supervise({
    sandbox,
    profile,
    clock,
    emitter,
    signal,
    on: onRecorded,
    since,
    observers,
    keep,
    mutex,
    mayCapture,
  })
}

function abilitiesOf({ walls }: RoomParts, { provider, tightens }: Sandbox) {
  const { tightens: usual = [], can = [] } = walls.find(provider) ?? {}
  return { tightens: tightens ?? usual, can }
}

const zoneHint =
  'Run it as a single job in an isolate, or without a policy for this function in its schedule'

/**
 * Number of walls and memory of the zones, reserved by admission before the job begins. Throws MayflyError UNAVAILABLE if a
 * function of the code has a policy, and its wall makes no zones or the job is a batch, which is never split; or if functions have
 * policies and the code could not be read. A session is opened without code.
 */
function zoneNeeds(
  walls: ProvedWalls,
  profile: Profile,
  job: Job,
  analysis: Analysis,
): JobNeeds | undefined {
  const unread = job.session ? undefined : unreadPolicyRefusalOf(analysis, profile.schedule)
  if (unread !== undefined) throw new MayflyError('UNAVAILABLE', unread, { hint: unreadPolicyHint })
  const split = analysis.kind === 'verdict' ? analysis.split : undefined
  const hasZones = walls.find(profile.provider)?.can.includes('zones') === true
  const whole = !hasZones ? 'wall' : job.asked.calls ? 'batch' : undefined
  const refusal = split && policyRefusalOf(split, profile.schedule, whole)
  if (refusal !== undefined && whole)
    throw new MayflyError('UNAVAILABLE', refusal, { hint: zoneHint })
  return split && !whole ? zoneCosts(profile, split) : undefined
}
