import { addAbortListener } from 'node:events'
import { hostCharactersMax } from '../contract/anomaly.ts'
import type { Clock, Timer } from '../contract/clock.ts'
import type { Controls } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Event, TimelineListener, Emitter } from '../contract/event.ts'
import type { CapturedFor } from '../contract/evidence.ts'
import type { Profile } from '../contract/profile.ts'
import type { KillCause, Sandbox, Task, TaskEnd, TaskIo } from '../contract/provider.ts'
import type {
  KeepCapture,
  TaskListener,
  OperatorOrder,
  SupervisedRun,
  Supervisor,
} from '../contract/pipeline.ts'
import type { ProgramZoneAbout } from '../contract/zones.ts'
import { Attention, type Judged } from './attention.ts'
import { captureMsMax, captureSummary, captureWaitMsMax } from '../contract/capture-summary.ts'
import { createMutex, type Mutex } from '../lib/mutex.ts'
import { cutShort, lost, reasonOf } from '../contract/task-end.ts'
import { enforce } from './enforce.ts'
import { OwnedClock } from './owned-clock.ts'
import { mainZone } from '../contract/phase.ts'
import { wallAnswer } from '../contract/wall-answer.ts'
import { begin, next, nextAt, stepOf, wholeOf } from './schedule.ts'
import type { Act, Happening, Life, Turn } from './schedule.ts'
import { Speech } from './speech.ts'
import { severityOf } from './tally.ts'
import { Timeline } from './timeline.ts'

/** What a wall has to release user code, and to answer once it was killed, in milliseconds. */
export const releaseMsMax = 10_000
export const answerMsMax = 2000
export const zoneCharactersMax = 64

export interface Watch {
  readonly sandbox: Sandbox
  readonly profile: Profile
  readonly clock: Clock
  readonly voice: Emitter
  /** The caller's: aborting it cancels. */
  readonly signal: AbortSignal
  /** Hears each line of the timeline as it is written, and of what holds now; never throws. */
  readonly on?: TimelineListener | undefined
  /** Keeps what a capture comes to; it is only told of where there is nobody. */
  readonly keep?: KeepCapture | undefined
  /** Where captures of this process wait for each other. */
  readonly mutex?: Mutex | undefined
  /** Whether this run may be captured for an anomaly, or its like was too often; asked once it stands still. */
  readonly mayCapture?: ((run: string) => boolean) | undefined
}

/**
 * The Temporal Sandbox Manager of one life. `schedule.ts` says what closes when; this waits, and calls. Whatever the
 * wall does or leaves undone, the life ends: at the latest `answerMsMax` after the moment it was to, and if it never
 * began, `releaseMsMax` after it was asked for. The first phase holds before user code is released.
 */
export function supervise(watch: Watch): Supervisor {
  return new Supervision(watch)
}

/** What happens, but for when: that is now. */
type Told = Happening extends infer One ? (One extends unknown ? Omit<One, 'at'> : never) : never
type Close = Extract<Act, { kind: 'close' }>

/** For whom a wall is looked into at its end, why, and of which zone that is. */
interface Look {
  readonly because: Exclude<CapturedFor, 'operator'>
  readonly reason: string
  readonly zone: string
}

class Supervision implements Supervisor {
  readonly #watch: Watch
  readonly #clock: OwnedClock
  readonly #timeline: Timeline
  readonly #attention = new Attention()
  readonly #speech: Speech
  readonly #done = Promise.withResolvers<SupervisedRun>()
  readonly #first: Turn
  #life: Life
  #task: Task | undefined
  #cause: KillCause | undefined
  /** Unborn until the wall has the task; over once the end is known. */
  #state: 'unborn' | 'running' | 'over' = 'unborn'
  #next: Timer | undefined
  /** Its user code is over, and it is looked into before anybody is told. */
  #capturing: Promise<void> | undefined
  /** Aborted when a capture that has not begun is not waited for any more, with why. */
  readonly #leave = new AbortController()
  #behaviorScore = 0
  /** Zones that are being ended, with why. */
  readonly #ending = new Map<string, string>()
  /** Milliseconds that user code ran, where it ended before its wall did. */
  #ranMs: number | undefined

  constructor(watch: Watch) {
    const { schedule, controls, limits } = watch.profile
    this.#watch = watch
    this.#clock = new OwnedClock(watch.clock)
    this.#timeline = new Timeline(watch.clock, watch.on)
    this.#speech = new Speech(watch.voice, (point, zone) =>
      this.#attention.tally.count(point, zone),
    )
    this.#first = begin(schedule, controls, limits.timeout)
    this.#life = this.#first.life
    watch.sandbox.watch((event) => this.notice(event))
  }

  /** Lives the life, once. What wall and guest do is never thrown: the end says it. */
  async run(task: Task, io: TaskListener): Promise<SupervisedRun> {
    if (this.#task) {
      throw new MayflyError('CONFLICT', 'Cannot supervise a second task: a life is lived once')
    }
    this.#task = task
    this.#speech.run = task.run
    // Somebody ended it before it began.
    if (this.#state === 'over') return await this.#done.promise
    const { signal } = this.#watch

    using _cancel = addAbortListener(signal, () => {
      this.#leaveLine('The job was cancelled')
      this.#cut({ status: 'cancelled' })
    })
    if (signal.aborted) this.#cut({ status: 'cancelled' })
    else void this.#begin(task, io)
    return await this.#done.promise
  }

  async tighten(to: Controls, by: OperatorOrder): Promise<boolean> {
    const zone = this.#zoneOf(by)
    const { orders } = this.#tell({ kind: 'tighten', zone, to }, saidBy(by))
    const held = await Promise.all(orders)
    return held.every(Boolean)
  }

  terminate(by: OperatorOrder): void {
    const zone = this.#zoneOf(by)
    if (zone === mainZone) this.#leaveLine(`The job was terminated by ${saidBy(by)}`)
    this.#tell({ kind: 'terminate', zone, reason: saidBy(by) })
  }

  zone(zone: string, kind: string, about?: ProgramZoneAbout): void {
    if (zone.length === 0 || zone.length > zoneCharactersMax)
      throw new MayflyError(
        'INVALID',
        `Cannot begin a zone: its name has ${zone.length} characters`,
      )
    if (!this.#isOpen || this.#life.strands.has(zone)) return
    const { zones = {} } = this.#watch.profile.schedule
    const schedule = Object.hasOwn(zones, kind) ? zones[kind] : undefined
    this.#timeline.note({ event: 'zone', fields: { kind, ...about } }, zone)
    this.#tell({ kind: 'zone', zone, schedule })
    const strand = this.#life.strands.get(zone)
    if (strand && !strand.end && this.#isOpen) this.#speech.opened(zone, stepOf(strand).phase)
  }

  gone(zone: string): void {
    this.#noteEnded(zone)
    this.#tell({ kind: 'gone', zone })
  }

  notice({ point, zone: said, fields }: Pick<Event, 'point' | 'zone' | 'fields'>): void {
    if (!this.#isOpen) return
    // Counted by zone, and nobody can make more of them by naming them.
    const zone = this.#life.strands.has(said) ? said : mainZone
    this.#attention.tally.count(point, zone)
    if (point === 'capability/denied') this.#attention.tally.call(zone)
    if (point === 'anomaly/found') this.#answer(zone, fields)
    if (point === 'egress/denied') this.#noteDenied(zone, fields)
    this.#stir()
  }

  /** The guest's own words, and so cut to a size. */
  #noteDenied(zone: string, { host, port, because }: Event['fields']): void {
    const to = typeof host === 'string' ? { host: host.slice(0, hostCharactersMax) } : {}
    const fields = { ...to, ...(typeof port === 'number' && { port }) }
    const reason = typeof because === 'string' ? { reason: because.slice(0, 200) } : {}
    this.#timeline.note({ event: 'denied', fields, ...reason }, zone)
  }

  /** Cuts what still runs, without waiting for the wall: that is killed, and will be destroyed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abandon({ status: 'terminated', reason: 'The supervisor was closed' })
  }

  async #begin(task: Task, io: TaskListener): Promise<void> {
    this.#wait(releaseMsMax, () => this.#lose('The wall did not release user code in time'))
    await Promise.all(this.#first.acts.flatMap((act) => this.#do(act)))
    if (this.#state !== 'unborn') return
    this.#state = 'running'
    Promise.try(() => this.#watch.sandbox.run(task, this.#between(io))).then(
      (end) => this.#conclude(this.#judgeEnd(end)),
      (thrown: unknown) => this.#conclude(this.#judgeEnd(lost(messageOf(thrown)))),
    )
  }

  /** Stands between the wall and whoever listens: nothing passes once the life is over. */
  #between(io: TaskListener): TaskIo {
    return {
      stdout: (chunk) => (this.#hears(chunk) ? io.stdout(chunk) : undefined),
      stderr: (chunk) => (this.#hears(chunk) ? io.stderr(chunk) : undefined),
      released: () => this.#release(),
      ...(io.answered && {
        answered: (answer) => (this.#state === 'over' ? undefined : io.answered!(answer)),
      }),
      ...(io.call && { call: (name, argsText, zone) => this.#call(io, name, argsText, zone) }),
    }
  }

  #hears(chunk: Uint8Array): boolean {
    if (this.#state === 'over') return false
    this.#attention.tally.output(chunk.byteLength)
    this.#stir()
    return true
  }

  #release(): void {
    if (this.#timeline.hasBegun || this.#state === 'over') return
    const { phase } = stepOf(wholeOf(this.#life))
    this.#timeline.begin({ event: 'phase', phase })
    this.#speech.opened(mainZone, phase)
    this.#waitForNext()
  }

  /** Goes to the phase that holds now. A timer may be early or late: the schedule decides, not the timer. */
  #turn(): void {
    const cpu = this.#cpu()
    this.#tell(cpu === undefined ? { kind: 'time' } : { kind: 'cpu', zone: mainZone, cpu })
    const cpuOf = (zone: string) => (zone === mainZone ? cpu : this.#cpu(zone))
    for (const judged of this.#attention.look(this.#life, cpuOf)) this.#heed(judged)
    this.#waitForNext()
  }

  #heed({ kind, zone, phase, reason, failed }: Judged): void {
    if (failed !== undefined) this.#speech.say('phase/undecided', { phase, reason: failed }, zone)
    this.#tell({ kind, zone, reason })
  }

  #answer(zone: string, fields: Event['fields']): void {
    const severity = severityOf(fields['severity'])
    const reason = `anomaly ${severity}${named(fields['reason'])}`
    this.#attention.tally.anomaly(severity, zone)
    const { name, behaviorScore: score } = fields
    // Told by whoever watches the life; a wall that says one lowers nothing.
    if (typeof score === 'number') this.#behaviorScore = highest(this.#behaviorScore, score)
    const about = {
      severity,
      ...(typeof name === 'string' && { name: name.slice(0, 64) }),
      ...(this.#behaviorScore > 0 && { behaviorScore: this.#behaviorScore }),
    }
    this.#timeline.note({ event: 'anomaly', reason, fields: about }, zone)
    this.#tell({ kind: 'anomaly', zone, severity, reason })
  }

  #stir(): void {
    if (this.#attention.stir() && this.#timeline.hasBegun) this.#waitForNext()
  }

  /** What happened, now, and what is done for it: for each order to the wall, whether it comes to hold. */
  #tell(told: Told, reason?: string): { readonly orders: readonly Promise<boolean>[] } {
    if (!this.#isOpen) return { orders: [] }
    const { life, acts } = next(this.#life, { ...told, at: this.#timeline.age })
    this.#life = life
    const orders = acts.flatMap((act) => this.#do(act, reason))
    if (this.#timeline.hasBegun) this.#waitForNext()
    return { orders }
  }

  #do(act: Act, reason?: string): readonly Promise<boolean>[] {
    switch (act.kind) {
      case 'advanced':
        this.#timeline.note({ event: 'advanced', phase: act.phase, reason: act.reason }, act.zone)
        break
      case 'opened':
        // Before the release nothing is open; then the phase that holds is.
        if (act.zone === mainZone && !this.#timeline.hasBegun) break
        this.#speech.closed(act.zone)
        this.#timeline.note({ event: 'phase', phase: act.phase }, act.zone)
        this.#speech.opened(act.zone, act.phase)
        break
      case 'close':
        return [this.#close(act, reason)]
      case 'freeze':
        void this.#freeze(act.zone, act.reason)
        break
      case 'capture':
        this.#cut({ status: 'terminated', reason: act.reason }, this.#reaction(act))
        break
      case 'end':
        this.#end(act)
    }
    return []
  }

  async #close({ zone, phase, controls, closing, order }: Close, reason?: string) {
    const done = await enforce(this.#watch.sandbox, { zone, controls }, this.#clock)
    if (!this.#isOpen) return false
    if (done.kind === 'open') {
      this.#speech.say('control/unenforced', { phase, why: done.why }, zone)
      if (this.#timeline.hasBegun) this.#tell({ kind: 'unheld', zone, order, why: done.why })
      else this.#lose(`Cannot enforce phase "${phase}": ${done.why}`)
      return false
    }
    this.#tell({ kind: 'held', zone, order })
    const closed = Object.fromEntries(closing.map((name) => [name, controls[name]]))
    const because = reason === undefined ? {} : { reason }
    const { took, answers } = done
    const line = { phase, controls: closed, took, ...because }
    const fields = answers && { fields: { errno: answers } }
    this.#timeline.note({ event: 'tightened', ...line, ...fields }, zone)
    this.#speech.say('control/tightened', { phase, controls: closing, took, ...because }, zone)
    return true
  }

  /** What cannot be frozen is ended; what is frozen goes on ageing. */
  async #freeze(zone: string, reason: string): Promise<void> {
    try {
      await wallAnswer(() => this.#watch.sandbox.freeze(), this.#clock)
      if (this.#isOpen) this.#timeline.note({ event: 'frozen', reason }, zone)
    } catch (thrown) {
      this.#tell({ kind: 'terminate', zone: mainZone, reason: `${reason}: ${messageOf(thrown)}` })
    }
  }

  /** Whoever asked for the job has what its wall holds at the end, whatever end that is. */
  get #asked(): Look | undefined {
    const isAsked = this.#watch.profile.capture && this.#timeline.hasBegun
    return isAsked ? { because: 'asked', reason: 'asked', zone: mainZone } : undefined
  }

  #reaction({ zone, reason }: Pick<Look, 'zone' | 'reason'>): Look | undefined {
    return this.#timeline.hasBegun ? { because: 'anomaly', reason, zone } : undefined
  }

  /** Its user code is over: all of it stands still from now on, and is ended then, whatever comes of it. */
  #captureEnd(look: Look): Promise<void> {
    this.#ranMs = this.#timeline.age
    this.#next?.cancel()
    return (this.#capturing = this.#captureNow(look))
  }

  async #captureNow({ because, reason, zone }: Look): Promise<void> {
    const { clock } = this.#watch
    const began = clock.now()
    const fields = await this.#captured(because).catch(notCaptured)
    if (this.#state === 'over') return
    const took = clock.now() - began
    this.#timeline.note({ event: 'captured', took, reason, fields }, zone)
    if (because === 'anomaly')
      this.#speech.say('anomaly/reacted', { reaction: 'capture', took, ...fields }, zone)
    if (fields.kind === 'none') this.#speech.say('evidence/missing', { why: fields.why }, zone)
  }

  async #captured(because: Look['because']) {
    const { sandbox, profile, keep, mayCapture, mutex = createMutex() } = this.#watch
    const run = this.#task?.run ?? ''
    await wallAnswer(() => sandbox.hold?.() ?? sandbox.freeze(), this.#clock)
    if (because === 'anomaly' && !profile.capture && mayCapture?.(run) === false)
      throw new Error('this code was captured too often of late')
    const wait = this.#clock.after(captureWaitMsMax, () =>
      this.#leaveLine(
        `It waited ${captureWaitMsMax / 1000} s while others were captured, and was ended`,
      ),
    )
    return await mutex(async () => {
      wait.cancel()
      const capture = await wallAnswer(() => sandbox.capture(), this.#clock, captureMsMax)
      if (capture.kind === 'none') throw new Error(capture.why ?? 'its wall cannot be looked into')
      return captureSummary(
        capture,
        await keep?.({ run, tenant: profile.tenant, because }, capture),
      )
    }, this.#leave.signal)
  }

  /** A capture that has begun is made; one that waits is not, and the life ends as it would after it. */
  #leaveLine(why: string): void {
    if (this.#capturing) this.#leave.abort(new Error(`${why} before it was captured`))
  }

  #end({ zone, end }: Extract<Act, { kind: 'end' }>): void {
    if (zone === mainZone) {
      if (end.status === 'terminated') this.#cut({ status: 'terminated', reason: end.reason })
      else this.#cut({ status: 'timeout' })
      return
    }
    const reason = end.status === 'terminated' ? end.reason : end.status
    this.#speech.closed(zone, end.status === 'gone' ? undefined : reason)
    if (end.status === 'gone') this.#timeline.note({ event: 'zone', reason }, zone)
    else void this.#endZone(zone, reason)
  }

  /** Whoever is first to say so: the wall of a zone that is over, or the answer to the order. */
  #noteEnded(zone: string): void {
    const reason = this.#ending.get(zone)
    if (reason === undefined) return
    this.#ending.delete(zone)
    if (this.#isOpen) this.#timeline.note({ event: 'terminated', reason }, zone)
  }

  /** A zone that the wall cannot end takes the whole with it. */
  async #endZone(zone: string, reason: string): Promise<void> {
    const { sandbox } = this.#watch
    try {
      if (!sandbox.endZone) throw new Error('the wall has no zones')
      this.#ending.set(zone, reason)
      await wallAnswer(() => sandbox.endZone!(zone), this.#clock)
      this.#noteEnded(zone)
    } catch (thrown) {
      const why = `Cannot end zone "${zone}": ${messageOf(thrown)}`
      this.#tell({ kind: 'terminate', zone: mainZone, reason: why })
    }
  }

  /** What the phase does not grant is refused here, whatever the wall thinks; after a cut, everything. */
  async #call(io: TaskListener, name: string, argsText: string, said = mainZone): Promise<string> {
    const own = this.#life.strands.get(said)
    const zone = own ? said : mainZone
    this.#attention.tally.call(zone)
    this.#stir()
    const isGranted = [wholeOf(this.#life), ...(own ? [own] : [])].every(
      ({ controls: { capabilities } }) => capabilities === 'any' || capabilities.includes(name),
    )
    if (isGranted && this.#isOpen && this.#state === 'running')
      return await io.call!(name, argsText, zone)
    this.#timeline.note({ event: 'denied', fields: { capability: name } }, zone)
    this.#speech.say('capability/denied', { capability: name }, zone)
    throw new MayflyError('FORBIDDEN', `Cannot call "${name}": this phase does not grant it`)
  }

  /** Ends user code. The first cause counts, and what the wall answers from now on says only what it cost. */
  #cut(cause: KillCause, look = this.#asked): void {
    if (!this.#isOpen) return
    if (this.#state === 'unborn') return this.#abandon(cause)
    this.#cause = cause
    if (look) void this.#captureEnd(look).then(() => this.#finish(cause))
    else this.#finish(cause)
  }

  #finish(cause: KillCause): void {
    if (this.#state === 'over') return
    this.#wait(answerMsMax, () => this.#lose('The wall did not answer when it was killed'))
    this.#kill(cause)
  }

  #abandon(cause: KillCause): void {
    if (this.#state === 'over') return
    this.#kill(cause)
    this.#settle(cutShort(this.#cause ?? cause))
  }

  #lose(message: string): void {
    this.#speech.say('tier/lost', { provider: this.#watch.sandbox.provider, message })
    this.#kill({ status: 'terminated', reason: message })
    this.#settle(lost(message))
  }

  #kill(cause: KillCause): void {
    try {
      this.#watch.sandbox.kill(cause)
    } catch (thrown) {
      this.#settle(lost(messageOf(thrown)))
    }
  }

  #judgeEnd(end: TaskEnd): TaskEnd {
    if (this.#cause) return cutShort(this.#cause, end)
    if (end.status !== 'ok' || this.#timeline.hasBegun) return end
    return lost('The wall answered before it released user code')
  }

  /** What it ended as is settled; of a program that stays for it there is still something to look into. */
  async #conclude(end: TaskEnd): Promise<void> {
    const look = this.#asked
    if (this.#state !== 'over' && !this.#cause && look) void this.#captureEnd(look)
    await this.#capturing
    this.#settle(end)
  }

  #settle(end: TaskEnd): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#leaveLine('The life was ended')
    this.#clock[Symbol.dispose]()
    const reason = reasonOf(end)
    if (end.status === 'limit') this.#speech.say('limit/hit', { code: end.error?.code })
    this.#speech.allClosed(reason)
    const executionTime = this.#ranMs ?? this.#timeline.age
    this.#done.resolve({ end, executionTime, timeline: this.#timeline.end(reason) })
  }

  get isOver(): boolean {
    return !this.#isOpen
  }

  /** Whether something that happens can still change this life. */
  get #isOpen(): boolean {
    return !this.#cause && !this.#capturing && this.#state !== 'over'
  }

  #zoneOf({ zone = mainZone }: OperatorOrder): string {
    if (this.#life.strands.has(zone)) return zone
    throw new MayflyError('NOT_FOUND', `Cannot find the zone "${zone}"`)
  }

  /** What the wall says that was used; a wall that fails to say has not said. */
  #cpu(zone?: string): number | undefined {
    try {
      return this.#watch.sandbox.cpuTime?.(zone)
    } catch {
      return undefined
    }
  }

  #waitForNext(): void {
    const at = this.#isOpen ? nextAt(this.#life) : undefined
    if (at === undefined) return
    const soonest = Math.min(at, this.#attention.nextLook(this.#life))
    this.#wait(soonest - this.#timeline.age, () => this.#turn())
  }

  /** One thing is waited for at a time: the release, the next phase, or the wall's last word. */
  #wait(ms: number, then: () => void): void {
    this.#next?.cancel()
    this.#next = this.#clock.after(Math.max(0, ms), then)
  }
}

const notCaptured = (thrown: unknown) => ({ kind: 'none' as const, why: messageOf(thrown) })

/** Of two scores; what is no score counts for nothing. */
const highest = (so: number, said: number): number => (said <= 100 ? Math.max(so, said) : so)

const saidBy = ({ actor, reason }: OperatorOrder): string => `${actor}: ${reason}`

function named(reason: unknown): string {
  return typeof reason === 'string' ? `: ${reason.slice(0, 200)}` : ''
}
