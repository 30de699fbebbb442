import { addAbortListener } from 'node:events'
import { hostCharactersMax } from '../contract/anomaly.ts'
import type { Clock, Timer } from '../contract/clock.ts'
import type { Controls } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Event, Emitter, TimelineEntry, TimelineListener } from '../contract/event.ts'
import type { CapturedFor } from '../contract/evidence.ts'
import type { Profile } from '../contract/profile.ts'
import type {
  KillCause,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
  UnheldPolicy,
} from '../contract/provider.ts'
import type {
  KeepCapture,
  LifeObserver,
  LifeRest,
  OperatorOrder,
  SupervisedRun,
  Supervisor,
  TaskListener,
} from '../contract/pipeline.ts'
import type { ProgramZoneAbout } from '../contract/zones.ts'
import { ConditionPoller, leavesConditions, type ZoneConditionAction } from './condition-poller.ts'
import { withLife, type LifeSoFar } from '../contract/captured-life.ts'
import { captureMsMax, captureSummary, captureWaitMsMax } from '../contract/capture-summary.ts'
import { createMutex, type Mutex } from '../lib/mutex.ts'
import { checkedEnd, cutShort, lost, reasonOf, withLimitCode } from '../contract/task-end.ts'
import { enforce } from './enforce.ts'
import { OwnedClock } from './owned-clock.ts'
import { present } from '../lib/present.ts'
import { lengthOf, mainZone } from '../contract/phase.ts'
import { releaseMsMaxOf, orderMsMaxOf } from '../contract/tier.ts'
import { wallAnswer } from '../contract/wall-answer.ts'
import { initialStateOf, nextState, nextAt, restOf, stepOf, mainOf } from './schedule.ts'
import type { LifeAction, LifeEnd, LifeInput, Life, Transition } from './schedule.ts'
import { refusedCall } from './refused-call.ts'
import { LifeEvents } from './life-events.ts'
import { reportedSeverityOf } from './life-counters.ts'
import { Timeline } from './timeline.ts'

/**
 * Deadline for the wall to answer after a kill, in milliseconds. A killed wall answers within tens of milliseconds; a host
 * that runs ten times what it has processors for takes more than two seconds.
 */
export const answerMsMax = 5000
export const zoneCharactersMax = 64

export interface SupervisorParts {
  readonly sandbox: Sandbox
  readonly profile: Profile
  readonly clock: Clock
  readonly emitter: Emitter
  /** Signal of the caller; abort cancels the job. */
  readonly signal: AbortSignal
  /** Receives timeline entries as they are written, and whether each was kept; must not throw. */
  readonly on?: TimelineListener | undefined
  /** Time of the clock from which its phases count; by default the release of user code. */
  readonly since?: number | undefined
  /** Observers of this life, the outermost first. */
  readonly observers?: readonly LifeObserver[]
  /** Stores captures; without it they are only summarised. */
  readonly keep?: KeepCapture | undefined
  /** Serialises the captures of this process. */
  readonly mutex?: Mutex | undefined
  /** Rate limit for captures caused by anomalies; called while the wall is frozen. */
  readonly mayCapture?: ((run: string) => boolean) | undefined
}

/**
 * Temporal supervisor of one life: executes the actions of `schedule.ts`.
 *
 * Problem: the wall may answer late, wrongly or never, and job, operator and anomalies may all end the life at once.
 *
 * Mechanism: the first phase is enforced before user code is released. All causes go through one state machine, and
 * one timer waits for the next deadline. Every call of the wall has a deadline; a life ends at most `answerMsMax`
 * after its kill, plus the bounds of a capture, and a life that never began ends `releaseMsMaxOf` its tier after its start. The
 * first cause of an end wins.
 *
 * Relies on a monotonic clock and on `sandbox.kill` ending the wall. Not handled: cleaning up the wall, which is
 * disposing the sandbox.
 */
export function supervise(parts: SupervisorParts): Supervisor {
  return new Supervision(parts)
}

/** Input without its time, which is now. */
type UntimedInput = LifeInput extends infer One
  ? One extends unknown
    ? Omit<One, 'at'>
    : never
  : never
type Close = Extract<LifeAction, { kind: 'close' }>

/** Reason for a capture at the end, and its zone. */
interface CaptureRequest {
  readonly because: Exclude<CapturedFor, 'operator'>
  readonly reason: string
  readonly zone: string
}

/** Shortest time between two looks at the processor time, of which a wall takes a sample each 100 ms. */
const CPU_CHECK_MS_MIN = 25

type Limits = Profile['limits']

class Supervision implements Supervisor {
  readonly #parts: SupervisorParts
  readonly #clock: OwnedClock
  readonly #timeline: Timeline
  readonly #conditions = new ConditionPoller()
  readonly #events: LifeEvents
  readonly #done = Promise.withResolvers<SupervisedRun>()
  readonly #first: Transition
  #life: Life
  #task: Task | undefined
  #cause: KillCause | undefined
  /** `unborn` until the wall has the task, `over` once the end is known. */
  #state: 'unborn' | 'running' | 'over' = 'unborn'
  #next: Timer | undefined
  /** Capture after the end of user code, awaited before the outcome is reported. */
  #capturing: Promise<void> | undefined
  /** Aborted with the reason if a queued capture is cancelled. */
  readonly #captureWait = new AbortController()
  #behaviorScore = 0
  /** Reasons of zones that are being ended. */
  readonly #ending = new Map<string, string>()
  /** Run time of user code, if it ended before its wall, in milliseconds. */
  #ranMs: number | undefined
  /** Age of its phases at the release, in milliseconds. */
  #ageAtRelease = 0
  /** Age at which the next phase ends by the clock. */
  #closesAt = Infinity
  /** Age of the next look at its processor time, if that is limited. */
  #cpuCheckAt = Infinity

  constructor(parts: SupervisorParts) {
    this.#parts = parts
    this.#clock = new OwnedClock(parts.clock)
    this.#timeline = new Timeline(parts.clock, (entry, isKept) =>
      this.#emit(this.#observers.length, entry, isKept),
    )
    this.#events = new LifeEvents(parts.emitter, (point, zone) =>
      this.#conditions.counters.count(point, zone),
    )
    this.#first = initialStateOf(parts.profile)
    this.#life = this.#first.life
    if (parts.profile.limits.cpuTime !== undefined) this.#cpuCheckAt = CPU_CHECK_MS_MIN
    parts.sandbox.watch((event) => this.notice(event))
    for (const [place, observer] of this.#observers.entries())
      observer.attach?.(this, (entry, isKept) => this.#emit(place, entry, isKept))
  }

  get #observers(): readonly LifeObserver[] {
    return this.#parts.observers ?? []
  }

  /** Delivers an entry to the observers outside of `place`, the nearest first, and then to the caller. */
  #emit(place: number, entry: TimelineEntry, isKept: boolean): void {
    let seen = entry
    for (const observer of this.#observers.slice(0, place).toReversed())
      seen = observer.entry?.(seen, isKept) ?? seen
    this.#parts.on?.(seen, isKept)
  }

  /** Runs the task, once. Faults of wall and guest are never thrown: the end reports them. */
  async run(task: Task, io: TaskListener): Promise<SupervisedRun> {
    if (this.#task) {
      throw new MayflyError('CONFLICT', 'Cannot supervise a second task: a life is lived once')
    }
    this.#task = task
    try {
      let given: { readonly task: Task; readonly io: TaskListener } = { task, io }
      for (const observer of this.#observers)
        given = observer.begin?.(given.task, given.io) ?? given
      let run = await this.#runTask(given.task, given.io)
      for (const observer of this.#observers.toReversed()) run = observer.end?.(run) ?? run
      return run
    } finally {
      for (const observer of this.#observers.toReversed()) observer.close?.()
    }
  }

  async #runTask(task: Task, io: TaskListener): Promise<SupervisedRun> {
    this.#events.run = task.run
    // Ended before it began.
    if (this.#state === 'over') return await this.#done.promise
    const { signal } = this.#parts

    using _cancel = addAbortListener(signal, () => {
      this.#abortCaptureWait('The job was cancelled')
      this.#cut({ status: 'cancelled' })
    })
    if (signal.aborted) this.#cut({ status: 'cancelled' })
    else void this.#begin(task, io)
    return await this.#done.promise
  }

  get rest(): LifeRest {
    const rest = restOf(this.#life, this.#timeline.hasBegun ? this.#age : 0)
    // From the decision to end it, however long its end takes.
    return this.#isOpen ? rest : { ...rest, phases: [] }
  }

  async tighten(to: Controls, by: OperatorOrder): Promise<boolean> {
    const zone = this.#zoneOf(by)
    const { orders } = this.#apply({ kind: 'tighten', zone, to }, attributedReason(by))
    const enforced = await Promise.all(orders)
    return enforced.every(Boolean)
  }

  terminate(by: OperatorOrder): void {
    const zone = this.#zoneOf(by)
    if (zone === mainZone)
      this.#abortCaptureWait(`The job was terminated by ${attributedReason(by)}`)
    this.#apply({ kind: 'terminate', zone, reason: attributedReason(by) })
  }

  zone(zone: string, kind: string, about?: ProgramZoneAbout): void {
    if (zone.length === 0 || zone.length > zoneCharactersMax)
      throw new MayflyError(
        'INVALID',
        `Cannot begin a zone: its name has ${zone.length} characters`,
      )
    if (!this.#isOpen || this.#life.zones.has(zone)) return
    const { zones = {} } = this.#parts.profile.schedule
    const schedule = Object.hasOwn(zones, kind) ? zones[kind] : undefined
    this.#timeline.note({ event: 'zone', fields: { kind, ...about } }, zone)
    this.#apply({ kind: 'zone', zone, schedule })
    const state = this.#life.zones.get(zone)
    if (state && !state.end && this.#isOpen) this.#events.phaseOpened(zone, stepOf(state).phase)
  }

  gone(zone: string): void {
    this.#noteEnded(zone)
    this.#apply({ kind: 'gone', zone })
  }

  /** Noted after a cut as well: the outcome lacks what the zone did. */
  lost(zone: string, message: string): void {
    if (this.#state === 'over') return
    this.#timeline.note({ event: 'zone', reason: message }, zone)
    this.#events.emit('tier/lost', { provider: this.#parts.sandbox.provider, message }, zone)
  }

  unheld(policy: UnheldPolicy): void {
    this.#events.emit('control/unenforced', { ...policy }, mainZone)
  }

  notice(event: Pick<Event, 'point' | 'zone' | 'fields'> & Partial<Pick<Event, 'trust'>>): void {
    const { point, zone: reported, fields, trust } = event
    this.#catchUp()
    if (!this.#isOpen) return
    // Unknown zones count as `main`, so that events cannot create zones.
    const zone = this.#life.zones.has(reported) ? reported : mainZone
    this.#conditions.counters.count(point, zone)
    if (point === 'capability/denied') this.#noteDeniedCall(zone, fields)
    if (point === 'anomaly/found') this.#applyAnomaly(zone, fields)
    if (point === 'egress/denied') this.#noteDenied(zone, fields)
    if (point === 'name/refused') this.#noteRefused(zone, fields)
    if (trust === 'guest' && fields['denied'] === true)
      this.#timeline.note(refusedCall(point, fields), zone)
    this.#schedulePoll()
  }

  /** A call that the wall refused. One refused by a channel has a reason, and an entry of the channel. */
  #noteDeniedCall(zone: string, { capability, why }: Event['fields']): void {
    this.#conditions.counters.call(zone)
    if (typeof capability === 'string' && why === undefined)
      this.#timeline.note({ event: 'denied', fields: { capability } }, zone)
  }

  /** Guest-controlled text, so truncated. */
  #noteDenied(zone: string, { host, port, because }: Event['fields']): void {
    const to = typeof host === 'string' ? { host: host.slice(0, hostCharactersMax) } : {}
    const fields = { ...to, ...(typeof port === 'number' && { port }) }
    const reason = typeof because === 'string' ? { reason: because.slice(0, 200) } : {}
    this.#timeline.note({ event: 'denied', fields, ...reason }, zone)
  }

  /** Names of a closed list. */
  #noteRefused(zone: string, { name, module }: Event['fields']): void {
    if (typeof name !== 'string') return
    const of = typeof module === 'string' ? ` of "${module.slice(0, 40)}"` : ''
    const reason = `Code reached for "${name.slice(0, 40)}"${of}, which its realm has not`
    this.#timeline.note({ event: 'denied', reason }, zone)
  }

  /** Kills a running wall without waiting for its answer. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abandon({ status: 'terminated', reason: 'The supervisor was closed' })
  }

  async #begin(task: Task, io: TaskListener): Promise<void> {
    const msMax = releaseMsMaxOf(this.#parts.profile.tier)
    this.#wait(msMax, () => this.#failWall('The wall did not release user code in time'))
    await Promise.all(this.#first.actions.flatMap((action) => this.#execute(action)))
    if (this.#state !== 'unborn') return
    this.#state = 'running'
    Promise.try(() => this.#parts.sandbox.run(task, this.#guardedIo(io))).then(
      (end) => this.#conclude(this.#judgeEnd(checkedEnd(end))),
      (thrown: unknown) => this.#conclude(this.#judgeEnd(lost(messageOf(thrown)))),
    )
  }

  /** Wraps the caller's callbacks: nothing is forwarded after the end. */
  #guardedIo(io: TaskListener): TaskIo {
    return {
      stdout: (chunk) => (this.#acceptsOutput(chunk) ? io.stdout(chunk) : undefined),
      stderr: (chunk) => (this.#acceptsOutput(chunk) ? io.stderr(chunk) : undefined),
      released: () => this.#release(),
      stopped: () => this.#stop(),
      ...(io.answered && {
        answered: (answer) => (this.#state === 'over' ? undefined : io.answered!(answer)),
      }),
      ...(io.call && { call: (name, argsText, zone) => this.#call(io, name, argsText, zone) }),
    }
  }

  #acceptsOutput(chunk: Uint8Array): boolean {
    this.#catchUp()
    if (this.#state === 'over') return false
    this.#conditions.counters.output(chunk.byteLength)
    this.#schedulePoll()
    return true
  }

  #release(): void {
    if (this.#timeline.hasBegun || this.#state === 'over') return
    const { phase } = stepOf(mainOf(this.#life))
    this.#timeline.begin({ event: 'phase', phase })
    this.#events.phaseOpened(mainZone, phase)
    const { since, clock } = this.#parts
    if (since === undefined) return this.#waitForNext()
    this.#ageAtRelease = Math.max(0, clock.now() - since)
    this.#apply({ kind: 'time' })
  }

  /** Age of the phases, in milliseconds. */
  get #age(): number {
    return this.#timeline.age + this.#ageAtRelease
  }

  /** Stops the clock of the schedule: a wall that is slow to report its cost is no timeout of its job. */
  #stop(): void {
    if (!this.#isOpen || !this.#timeline.hasBegun || this.#ranMs !== undefined) return
    this.#ranMs = this.#timeline.age
    this.#wait(answerMsMax, () => this.#failWall('The wall did not answer after user code ended'))
  }

  /** Ends a life that used up its processor time, which is polled: the next look comes when it can have done so. */
  #checkCpuTime(cpu: number | undefined): void {
    const { cpuTime } = this.#parts.profile.limits
    if (cpuTime === undefined) return
    if (cpu !== undefined && cpu > cpuTime) return this.#cut({ status: 'limit', code: 'CPU' })
    const leftMs = (cpuTime - (cpu ?? 0)) / this.#parts.profile.limits.cpu
    this.#cpuCheckAt = this.#age + Math.max(CPU_CHECK_MS_MIN, leftMs)
  }

  /** Advances to the current phase. Timers may fire early or late; the schedule decides by the clock. */
  #onTimer(): void {
    const cpu = this.#cpu()
    this.#apply(cpu === undefined ? { kind: 'time' } : { kind: 'cpu', zone: mainZone, cpu })
    this.#checkCpuTime(cpu)
    this.#applyZoneClocks()
    this.#pollConditions((zone) => (zone === mainZone ? cpu : this.#cpu(zone)))
    this.#waitForNext()
  }

  /** A zone whose wall does not tell its CPU time has its wall clock alone. */
  #applyZoneClocks(): void {
    for (const { zone, rules, end } of this.#life.zones.values()) {
      if (zone === mainZone || end || !rules.clock) continue
      const cpu = this.#cpu(zone)
      if (cpu !== undefined) this.#apply({ kind: 'cpu', zone, cpu })
    }
  }

  #pollConditions(cpuOf: (zone: string) => number | undefined, kind?: 'terminate'): void {
    for (const judged of this.#conditions.poll(this.#life, cpuOf, kind))
      this.#applyCondition(judged)
  }

  /** Between the release and the end only. */
  #pollNow(kind?: 'terminate'): void {
    if (this.#timeline.hasBegun && this.#isOpen)
      this.#pollConditions((of) => this.#cpu(of === mainZone ? undefined : of), kind)
  }

  #applyCondition({ kind, zone, phase, reason, failed }: ZoneConditionAction): void {
    if (failed !== undefined) this.#events.emit('phase/undecided', { phase, reason: failed }, zone)
    this.#apply({ kind, zone, reason })
  }

  #applyAnomaly(zone: string, fields: Event['fields']): void {
    const severity = reportedSeverityOf(fields['severity'])
    const reason = `anomaly ${severity}${named(fields['reason'])}`
    this.#conditions.counters.anomaly(severity, zone)
    const { name, behaviorScore: score } = fields
    // Behavior score of the watcher; it only rises, so a forged event cannot lower it.
    if (typeof score === 'number') this.#behaviorScore = highest(this.#behaviorScore, score)
    const about = {
      severity,
      ...(typeof name === 'string' && { name: name.slice(0, 64) }),
      ...(this.#behaviorScore > 0 && { behaviorScore: this.#behaviorScore }),
    }
    this.#timeline.note({ event: 'anomaly', reason, fields: about }, zone)
    const limit = name === 'fork-storm' && severity === 'high' ? 'PROCESSES' : undefined
    this.#apply({ kind: 'anomaly', zone, severity, reason, ...(limit && { limit }) })
    // At once: the guest can cause another anomaly, which replaces `anomaly.last`, before the next poll.
    this.#pollNow()
  }

  #schedulePoll(): void {
    if (this.#conditions.noteEvent() && this.#timeline.hasBegun) this.#waitForNext()
  }

  /** Applies an input now and executes its actions; each order resolves to whether it was enforced. */
  #apply(input: UntimedInput, reason?: string): { readonly orders: readonly Promise<boolean>[] } {
    if (!this.#isOpen) return { orders: [] }
    const next = this.#judgedState(input)
    if (!next) return { orders: [] }
    this.#life = next.life
    const orders = next.actions.flatMap((action) => this.#execute(action, reason))
    if (this.#timeline.hasBegun) this.#waitForNext()
    return { orders }
  }

  /** Next state. A condition of a phase that is left for the end of the life holds first, for all that happened in the phase. */
  #judgedState(input: UntimedInput): Transition | undefined {
    const before = this.#life
    const next = this.#nextState(input)
    if (!next || input.kind === 'terminate' || !leavesConditions(before, next.life)) return next
    this.#pollNow('terminate')
    if (!this.#isOpen) return undefined
    return this.#life === before ? next : this.#nextState(input)
  }

  /** An event is of the phase of its time, however late the timer is. */
  #catchUp(): void {
    if (this.#age >= this.#closesAt) this.#apply({ kind: 'time' })
  }

  /** Fails closed: a schedule with a broken invariant closes nothing reliably, so its wall ends. */
  #nextState(input: UntimedInput): Transition | undefined {
    try {
      const at = this.#ranMs === undefined ? this.#age : this.#ranMs + this.#ageAtRelease
      return nextState(this.#life, { ...input, at })
    } catch (thrown) {
      this.#failWall(`The schedule is broken: ${messageOf(thrown)}`)
      return undefined
    }
  }

  #execute(action: LifeAction, reason?: string): readonly Promise<boolean>[] {
    switch (action.kind) {
      case 'advanced':
        this.#timeline.note(
          { event: 'advanced', phase: action.phase, reason: action.reason },
          action.zone,
        )
        break
      case 'opened':
        // Before the release no phase is open.
        if (action.zone === mainZone && !this.#timeline.hasBegun) break
        this.#events.phaseClosed(action.zone)
        this.#timeline.note({ event: 'phase', phase: action.phase }, action.zone)
        this.#events.phaseOpened(action.zone, action.phase)
        break
      case 'close':
        return [this.#close(action, reason)]
      case 'freeze':
        void this.#freeze(action.zone, action.reason)
        break
      case 'capture':
        this.#cut({ status: 'terminated', reason: action.reason }, this.#anomalyCapture(action))
        break
      case 'end':
        this.#end(action)
    }
    return []
  }

  async #close({ zone, phase, controls, closing, order }: Close, reason?: string) {
    const { sandbox, profile } = this.#parts
    const msMax = orderMsMaxOf(profile.tier)
    const done = await enforce(sandbox, { zone, controls }, this.#clock, msMax)
    if (!this.#isOpen) return false
    if (done.kind === 'open') {
      this.#events.emit('control/unenforced', { phase, why: done.why }, zone)
      if (this.#timeline.hasBegun) this.#apply({ kind: 'unheld', zone, order, why: done.why })
      else this.#failWall(`Cannot enforce phase "${phase}": ${done.why}`)
      return false
    }
    this.#apply({ kind: 'held', zone, order })
    const closed = Object.fromEntries(closing.map((name) => [name, controls[name]]))
    const because = reason === undefined ? {} : { reason }
    const { took, calls } = done
    const line = { phase, controls: closed, took, ...because }
    const fields = calls && { fields: calls }
    this.#timeline.note({ event: 'tightened', ...line, ...fields }, zone)
    this.#events.emit('control/tightened', { phase, controls: closing, took, ...because }, zone)
    return true
  }

  /** Falls back to ending the life. Freezing does not stop its clock. */
  async #freeze(zone: string, reason: string): Promise<void> {
    try {
      await wallAnswer(() => this.#parts.sandbox.freeze(), this.#clock)
      if (this.#isOpen) this.#timeline.note({ event: 'frozen', reason }, zone)
    } catch (thrown) {
      this.#apply({ kind: 'terminate', zone: mainZone, reason: `${reason}: ${messageOf(thrown)}` })
    }
  }

  /** Capture requested by the job, for any end. */
  get #requestedCapture(): CaptureRequest | undefined {
    const isAsked = this.#parts.profile.capture && this.#timeline.hasBegun
    return isAsked ? { because: 'asked', reason: 'asked', zone: mainZone } : undefined
  }

  #anomalyCapture({
    zone,
    reason,
  }: Pick<CaptureRequest, 'zone' | 'reason'>): CaptureRequest | undefined {
    return this.#timeline.hasBegun ? { because: 'anomaly', reason, zone } : undefined
  }

  /** Freezes and captures the wall after user code ended; the wall is killed afterwards in any case. */
  #captureEnd(captureRequest: CaptureRequest): Promise<void> {
    this.#ranMs ??= this.#timeline.age
    this.#next?.cancel()
    return (this.#capturing = this.#captureNow(captureRequest))
  }

  async #captureNow({ because, reason, zone }: CaptureRequest): Promise<void> {
    const { clock } = this.#parts
    const began = clock.now()
    const fields = await this.#captured(because).catch(notCaptured)
    if (this.#state === 'over') return
    const took = clock.now() - began
    this.#timeline.note({ event: 'captured', took, reason, fields }, zone)
    if (because === 'anomaly')
      this.#events.emit('anomaly/reacted', { reaction: 'capture', took, ...fields }, zone)
    if (fields.kind === 'none') this.#events.emit('evidence/missing', { why: fields.why }, zone)
  }

  async #captured(because: CaptureRequest['because']) {
    const { sandbox, profile, keep, mayCapture, mutex = createMutex() } = this.#parts
    const { tenant } = profile
    const run = this.#task?.run ?? ''
    await wallAnswer(() => sandbox.hold?.() ?? sandbox.freeze(), this.#clock)
    if (because === 'anomaly' && !profile.capture && mayCapture?.(run) === false)
      throw new Error('this code was captured too often recently')
    const wait = this.#clock.after(captureWaitMsMax, () =>
      this.#abortCaptureWait(
        `It waited ${captureWaitMsMax / 1000} s while others were captured, and was ended`,
      ),
    )
    const capture = async () => {
      wait.cancel()
      const value = await wallAnswer(() => sandbox.capture(), this.#clock, captureMsMax)
      if (value.kind === 'none') throw new Error(value.why ?? 'its wall does not support captures')
      return captureSummary(
        value,
        await keep?.({ run, tenant, because }, withLife(value, this.soFar())),
      )
    }
    return await mutex(capture, { leave: this.#captureWait.signal, tenant })
  }

  /** Cancels a queued capture; a running one is completed. */
  #abortCaptureWait(why: string): void {
    if (this.#capturing) this.#captureWait.abort(new Error(`${why} before it was captured`))
  }

  #end({ zone, end }: Extract<LifeAction, { kind: 'end' }>): void {
    if (zone === mainZone) {
      if (end.status === 'terminated') this.#cut(causeOf(end))
      else this.#cut({ status: 'timeout', ...this.#shortened() })
      return
    }
    const reason = end.status === 'terminated' ? end.reason : end.status
    this.#events.phaseClosed(zone, end.status === 'gone' ? undefined : reason)
    if (end.status === 'gone') this.#timeline.note({ event: 'zone', reason }, zone)
    else void this.#endZone(zone, reason)
  }

  /** Length of the life if its phases ended early; empty if they did not. */
  #shortened(): { readonly lifeMs?: number } {
    const { ends } = mainOf(this.#life).plan
    const { schedule, limits } = this.#parts.profile
    const isShortened = ends < Math.min(lengthOf(schedule.phases), limits.timeout)
    return isShortened ? { lifeMs: ends } : {}
  }

  /** Called by the end of the zone's wall, the answer to the order and the end of the life; the first one is noted. */
  #noteEnded(zone: string): void {
    const reason = this.#ending.get(zone)
    if (!this.#ending.delete(zone) || this.#state === 'over') return
    this.#timeline.note({ event: 'terminated', reason }, zone)
  }

  /** Ends the whole life if the wall cannot end the zone. */
  async #endZone(zone: string, reason: string): Promise<void> {
    const { sandbox, profile } = this.#parts
    try {
      if (!sandbox.endZone) throw new Error('the wall has no zones')
      this.#ending.set(zone, reason)
      await wallAnswer(() => sandbox.endZone!(zone), this.#clock, orderMsMaxOf(profile.tier))
      this.#noteEnded(zone)
    } catch (thrown) {
      this.#ending.delete(zone)
      const why = `Cannot end zone "${zone}": ${messageOf(thrown)}`
      this.#apply({ kind: 'terminate', zone: mainZone, reason: why })
    }
  }

  /** Refuses capabilities outside the phase here, even if the wall permits them; after a cut, all of them. */
  async #call(
    io: TaskListener,
    name: string,
    argsText: string,
    caller = mainZone,
  ): Promise<string> {
    this.#catchUp()
    const own = this.#life.zones.get(caller)
    const zone = own ? caller : mainZone
    this.#conditions.counters.call(zone)
    this.#schedulePoll()
    const isGranted = [mainOf(this.#life), ...(own ? [own] : [])].every(
      ({ controls: { capabilities } }) => capabilities === 'any' || capabilities.includes(name),
    )
    if (isGranted && this.#isOpen && this.#state === 'running')
      return await io.call!(name, argsText, zone)
    this.#timeline.note({ event: 'denied', fields: { capability: name } }, zone)
    this.#events.emit('capability/denied', { capability: name }, zone)
    throw new MayflyError('FORBIDDEN', `Cannot call "${name}": this phase does not grant it`)
  }

  /** Ends user code. The first cause wins; the wall's later answer only adds its cost. */
  #cut(cause: KillCause, captureRequest = this.#requestedCapture): void {
    if (!this.#isOpen) return
    if (this.#state === 'unborn') return this.#abandon(cause)
    this.#cause = cause
    if (captureRequest) void this.#captureEnd(captureRequest).then(() => this.#finish(cause))
    else this.#finish(cause)
  }

  #finish(cause: KillCause): void {
    if (this.#state === 'over') return
    this.#wait(answerMsMax, () => this.#failWall('The wall did not answer when it was killed'))
    this.#kill(cause)
  }

  #abandon(cause: KillCause): void {
    if (this.#state === 'over') return
    this.#kill(cause)
    this.#settle(cutShort(this.#cause ?? cause))
  }

  #failWall(message: string): void {
    this.#events.emit('tier/lost', { provider: this.#parts.sandbox.provider, message })
    this.#kill({ status: 'terminated', reason: message })
    this.#settle(lost(message))
  }

  #kill(cause: KillCause): void {
    try {
      this.#parts.sandbox.kill(cause)
    } catch (thrown) {
      this.#settle(lost(messageOf(thrown)))
    }
  }

  #judgeEnd(end: TaskEnd): TaskEnd {
    if (this.#cause) return cutShort(this.#cause, end)
    if (isOverCpuTime(end, this.#parts.profile.limits)) return atCpuLimit(end)
    if (end.status !== 'ok' || this.#timeline.hasBegun) return withLimitCode(end)
    return lost('The wall answered before it released user code')
  }

  /** Settles the end; a program kept for a capture is captured first. */
  async #conclude(end: TaskEnd): Promise<void> {
    const captureRequest = this.#requestedCapture
    if (this.#state !== 'over' && !this.#cause && captureRequest)
      void this.#captureEnd(captureRequest)
    await this.#capturing
    this.#settle(end)
  }

  #settle(end: TaskEnd): void {
    if (this.#state === 'over') return
    for (const zone of this.#ending.keys()) this.#noteEnded(zone)
    this.#state = 'over'
    this.#abortCaptureWait('The life was ended')
    this.#clock[Symbol.dispose]()
    const reason = reasonOf(end)
    if (end.status === 'limit') this.#events.limitHit(end)
    this.#events.closeAll(reason)
    const executionTime = this.#ranMs ?? this.#timeline.age
    this.#done.resolve({ end, executionTime, timeline: this.#timeline.end(reason) })
  }

  soFar(): LifeSoFar {
    const { entries } = this.#timeline
    const { events } = this.#conditions.counters
    return { profile: this.#parts.profile, timeline: [...entries], events }
  }

  get isOver(): boolean {
    return !this.#isOpen
  }

  /** True while inputs can still change this life. */
  get #isOpen(): boolean {
    return !this.#cause && !this.#capturing && this.#state !== 'over'
  }

  #zoneOf({ zone = mainZone }: OperatorOrder): string {
    if (this.#life.zones.has(zone)) return zone
    throw new MayflyError('NOT_FOUND', `Cannot find the zone "${zone}"`)
  }

  /** CPU time reported by the wall; undefined if it fails. */
  #cpu(zone?: string): number | undefined {
    try {
      return this.#parts.sandbox.cpuTime?.(zone)
    } catch {
      return undefined
    }
  }

  #waitForNext(): void {
    const at = this.#isOpen && this.#ranMs === undefined ? nextAt(this.#life) : undefined
    this.#closesAt = at ?? Infinity
    if (at === undefined) return
    const soonest = Math.min(at, this.#conditions.nextPoll(this.#life), this.#cpuCheckAt)
    this.#wait(soonest - this.#age, () => this.#onTimer())
  }

  /** Single timer: the release, the next phase or poll, or the answer to a kill. */
  #wait(ms: number, then: () => void): void {
    this.#next?.cancel()
    this.#next = this.#clock.after(Math.max(0, ms), then)
  }
}

/** True for an end of the code's own that came between two looks at its processor time. */
const isOverCpuTime = ({ status, cpuTime }: TaskEnd, { cpuTime: most = Infinity }: Limits) =>
  (status === 'ok' || status === 'error' || status === 'timeout') && cpuTime > most

function atCpuLimit(end: TaskEnd): TaskEnd {
  const { exitCode, signal } = end
  return { ...cutShort({ status: 'limit', code: 'CPU' }, end), ...present({ exitCode, signal }) }
}

/** A storm of forks that is near its limit ends as that limit: whether wall or watch ends it first is a race. */
function causeOf({ reason, limit }: Extract<LifeEnd, { status: 'terminated' }>): KillCause {
  return limit ? { status: 'limit', code: limit, reason } : { status: 'terminated', reason }
}

const notCaptured = (thrown: unknown) => ({ kind: 'none' as const, why: messageOf(thrown) })

/** Larger of two scores; values above 100 and NaN are ignored. */
const highest = (current: number, reported: number): number =>
  reported <= 100 ? Math.max(current, reported) : current

const attributedReason = ({ actor, reason }: OperatorOrder): string => `${actor}: ${reason}`

function named(reason: unknown): string {
  return typeof reason === 'string' ? `: ${reason.slice(0, 200)}` : ''
}
