import { addAbortListener } from 'node:events'
import type { Clock, Timer } from '../contract/clock.ts'
import type { Control } from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Point, TimelineEntry, Voice } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import type { KillCause, Sandbox, Task, TaskEnd, TaskIo } from '../contract/provider.ts'
import type { Listener, Supervised, Supervisor } from '../contract/rooms.ts'
import { cutShort, lost, reasonOf } from './ends.ts'
import { enforce } from './enforce.ts'
import { OwnedClock } from './owned-clock.ts'
import { advance, layOut, stepAt, type Life, type Step } from './schedule.ts'
import { Timeline, zone } from './timeline.ts'

/** What a wall has to release user code, and to answer once it was killed, in milliseconds. */
export const releaseMsMax = 10_000
export const answerMsMax = 2000

export interface Watch {
  readonly sandbox: Sandbox
  readonly profile: Profile
  readonly clock: Clock
  readonly voice: Voice
  /** The caller's: aborting it cancels. */
  readonly signal: AbortSignal
  /** Hears each line of the timeline as it is written; never throws. */
  readonly on?: ((entry: TimelineEntry) => void) | undefined
}

/**
 * The Temporal Sandbox Manager of one life. `schedule.ts` says what closes when; this waits, and calls. Whatever the
 * wall does or leaves undone, the life ends: at the latest `answerMsMax` after the moment it was to, and if it never
 * began, `releaseMsMax` after it was asked for. The first phase holds before user code is released.
 */
export function supervise(watch: Watch): Supervisor {
  return new Supervision(watch)
}

class Supervision implements Supervisor {
  readonly #watch: Watch
  readonly #clock: OwnedClock
  readonly #timeline: Timeline
  readonly #done = Promise.withResolvers<Supervised>()
  /** What phases have closed and the wall has not yet confirmed. */
  readonly #owed: Set<Control>
  #life: Life
  #place = 0
  #task: Task | undefined
  #cause: KillCause | undefined
  /** Unborn until the wall has the task; over once the end is known. */
  #state: 'unborn' | 'running' | 'over' = 'unborn'
  #next: Timer | undefined

  constructor(watch: Watch) {
    const { schedule, controls, limits } = watch.profile
    this.#watch = watch
    this.#clock = new OwnedClock(watch.clock)
    this.#timeline = new Timeline(watch.clock, watch.on)
    this.#life = layOut(schedule, controls, limits.timeout)
    this.#owed = new Set(this.#step.tightens)
  }

  /** Lives the life, once. What wall and guest do is never thrown: the end says it. */
  async run(task: Task, io: Listener): Promise<Supervised> {
    if (this.#task || this.#state === 'over') {
      throw new MayflyError('CONFLICT', 'Cannot supervise a second task: a life is lived once')
    }
    this.#task = task
    const { signal } = this.#watch

    using _cancel = addAbortListener(signal, () => this.#cut({ status: 'cancelled' }))
    if (signal.aborted) this.#cut({ status: 'cancelled' })
    else void this.#begin(task, io)
    return await this.#done.promise
  }

  /** Cuts what still runs, without waiting for the wall: that is killed, and will be destroyed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#abandon({ status: 'terminated', reason: 'The supervisor was closed' })
  }

  async #begin(task: Task, io: Listener): Promise<void> {
    this.#wait(releaseMsMax, () => this.#lose('The wall did not release user code in time'))
    if (this.#owed.size > 0) await this.#tighten()
    if (this.#state !== 'unborn') return
    this.#state = 'running'
    Promise.try(() => this.#watch.sandbox.run(task, this.#between(io))).then(
      (end) => this.#settle(this.#judge(end)),
      (thrown: unknown) => this.#settle(this.#judge(lost(messageOf(thrown)))),
    )
  }

  /** Stands between the wall and whoever listens: nothing passes once the life is over. */
  #between(io: Listener): TaskIo {
    return {
      stdout: (chunk) => (this.#state === 'over' ? undefined : io.stdout(chunk)),
      stderr: (chunk) => (this.#state === 'over' ? undefined : io.stderr(chunk)),
      released: () => this.#release(),
      ...(io.answered && {
        answered: (answer) => (this.#state === 'over' ? undefined : io.answered!(answer)),
      }),
      ...(io.call && { call: (name, argsText) => this.#call(io, name, argsText) }),
    }
  }

  #release(): void {
    if (this.#timeline.hasBegun || this.#state === 'over') return
    const { phase } = this.#step
    this.#timeline.begin({ event: 'phase', phase })
    this.#say('phase/opened', { phase })
    this.#waitForNext()
  }

  /** Goes to the phase that holds now. A timer may be early or late: the schedule decides, not the timer. */
  #turn(): void {
    const place = stepAt(this.#life, this.#timeline.age)
    if (place === this.#life.steps.length) return this.#cut({ status: 'timeout' })
    if (place > this.#place) this.#open(place)
    this.#waitForNext()
  }

  #open(place: number): void {
    this.#sayClosed(undefined)
    const opened = this.#life.steps.slice(this.#place + 1, place + 1)
    for (const control of opened.flatMap((step) => step.tightens)) this.#owed.add(control)
    this.#place = place
    const { phase } = this.#step
    this.#timeline.note({ event: 'phase', phase })
    this.#say('phase/opened', { phase })
    if (this.#owed.size > 0) void this.#tighten()
  }

  async #tighten(): Promise<void> {
    const place = this.#place
    const { phase, controls } = this.#step
    const closing = [...this.#owed]
    const done = await enforce(this.#watch.sandbox, controls, this.#clock)
    if (this.#cause || this.#state === 'over') return
    if (done.kind === 'open') return this.#escalate(place, done.why)
    if (place === this.#place) this.#owed.clear()
    const closed = Object.fromEntries(closing.map((name) => [name, controls[name]]))
    this.#timeline.note({ event: 'tightened', phase, controls: closed, took: done.took })
    this.#say('control/tightened', { phase, controls: closing, took: done.took })
  }

  /** A phase that does not hold is over: the next one begins, and after the last one nothing does. */
  #escalate(place: number, why: string): void {
    const { steps } = this.#life
    const reason = `Cannot enforce phase "${steps[place]!.phase}": ${why}`
    this.#say('control/unenforced', { phase: steps[place]!.phase, why })
    if (!this.#timeline.hasBegun) return this.#lose(reason)
    if (place < this.#place) return
    if (place === steps.length - 1) return this.#cut({ status: 'terminated', reason })
    this.#life = advance(this.#life, this.#timeline.age, this.#watch.profile.schedule.shorten)
    this.#timeline.note({ event: 'advanced', phase: steps[place]!.phase, reason })
    this.#turn()
  }

  /** What the phase does not grant is refused here, whatever the wall thinks; after a cut, everything. */
  async #call(io: Listener, name: string, argsText: string): Promise<string> {
    const { capabilities } = this.#step.controls
    const isGranted = capabilities === 'any' || capabilities.includes(name)
    if (isGranted && !this.#cause && this.#state === 'running')
      return await io.call!(name, argsText)
    this.#timeline.note({ event: 'denied', fields: { capability: name } })
    this.#say('capability/denied', { capability: name })
    throw new MayflyError('FORBIDDEN', `Cannot call "${name}": this phase does not grant it`)
  }

  /** Ends user code. The first cause counts, and what the wall answers from now on says only what it cost. */
  #cut(cause: KillCause): void {
    if (this.#cause || this.#state === 'over') return
    if (this.#state === 'unborn') return this.#abandon(cause)
    this.#cause = cause
    this.#wait(answerMsMax, () => this.#lose('The wall did not answer when it was killed'))
    this.#kill(cause)
  }

  #abandon(cause: KillCause): void {
    if (this.#state === 'over') return
    this.#kill(cause)
    this.#settle(cutShort(this.#cause ?? cause))
  }

  #lose(message: string): void {
    this.#say('tier/lost', { provider: this.#watch.sandbox.provider, message })
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

  #judge(end: TaskEnd): TaskEnd {
    if (this.#cause) return cutShort(this.#cause, end)
    if (end.status !== 'ok' || this.#timeline.hasBegun) return end
    return lost('The wall answered before it released user code')
  }

  #settle(end: TaskEnd): void {
    if (this.#state === 'over') return
    this.#state = 'over'
    this.#clock[Symbol.dispose]()
    const reason = reasonOf(end)
    if (end.status === 'limit') this.#say('limit/hit', { code: end.error?.code })
    if (this.#timeline.hasBegun) this.#sayClosed(reason)
    const executionTime = this.#timeline.age
    this.#done.resolve({ end, executionTime, timeline: this.#timeline.end(reason) })
  }

  #sayClosed(reason: string | undefined): void {
    const { phase } = this.#step
    if (reason === undefined) this.#say('phase/closed', { phase })
    else this.#say('phase/terminated', { phase, reason })
  }

  get #step(): Step {
    return this.#life.steps[this.#place]!
  }

  #waitForNext(): void {
    if (!this.#cause) this.#wait(this.#step.closes - this.#timeline.age, () => this.#turn())
  }

  /** One thing is waited for at a time: the release, the next phase, or the wall's last word. */
  #wait(ms: number, then: () => void): void {
    this.#next?.cancel()
    this.#next = this.#clock.after(Math.max(0, ms), then)
  }

  #say(point: Point, fields: Readonly<Record<string, unknown>>): void {
    this.#watch.voice.say(point, fields, { run: this.#task?.run ?? null, zone, actor: 'temporal' })
  }
}
