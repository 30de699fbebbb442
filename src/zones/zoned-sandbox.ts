import type { Clock, Timer } from '../contract/clock.ts'
import { controlsBeyond, meet, type Controls } from '../contract/controls.ts'
import { isBroken, MayflyError, messageOf } from '../contract/error.ts'
import type { Sink } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import type {
  Capture,
  Enforced,
  KillCause,
  RanFunction,
  Receipt,
  Sandbox,
  SandboxSession,
  Task,
  TaskEnd,
  TaskIo,
  ZoneListener,
} from '../contract/provider.ts'
import type { NetworkAttempt } from '../contract/outcome.ts'
import type { ProgramZone, ZoneSplit } from '../contract/zones.ts'
import { deniedCall } from '../walls/guest-calls.ts'
import { carveMain, carveZone, type CarvedSource } from './carve.ts'
import { channelLimits, type ChannelLimits } from './channel-limits.ts'
import { chooseZones, zoneNameIn } from './choose-zones.ts'
import { channelCapability, Exchange, type ChannelBudget, type ChannelNote } from './exchange.ts'
import { zoneGrant, zoneProfile } from './grant.ts'
import { ZoneControls } from './zone-controls.ts'
import { channelsToRevoke, type ChannelEnds } from './channel-reach.ts'
import { policyRefusalOf, unheldPolicies } from './unenforced-policy.ts'

const calledMax = 100
/** Limit of network attempts in one outcome, as for a single wall. */
const attemptsMax = 4096
const over = 'the program is over'
/** Grace period for zones after the program's end, in milliseconds; their traces come with their ends. */
export const zoneEndMsMax = { usual: 50, traced: 2000 }
/**
 * Deadline for the ends of killed zones, in milliseconds after the kill; their network attempts and CPU time come with
 * them. Below the supervisor's deadline for the whole wall (`answerMsMax`), so that one hung zone costs no more than
 * its own report.
 */
export const endMsMax = 4000

/** Zone of all code without a zone of its own. */
const whole = 'main'

export interface ZonedParts {
  /** Wall of `main`, or of the whole program if it has no zones. */
  readonly inner: Sandbox
  readonly profile: Profile
  /** Launches another wall of the same kind. */
  readonly launch: (profile: Profile) => Promise<Sandbox>
  readonly clock: Clock
  readonly budget?: ChannelBudget
}

interface LiveZone {
  readonly zone: ProgramZone
  readonly sandbox: Sandbox
  /** True once its end was counted, or the wait was given up. */
  ended: boolean
  /** Capabilities called so far. */
  readonly called: Set<string>
}

/**
 * Sandbox of several walls: `main` in one and each zone in another, so that zones cannot exhaust each other's limits.
 * Zones communicate only through the exchange, as JSON text.
 */
export class ZonedSandbox implements Sandbox {
  readonly id: string
  readonly provider: string
  readonly image: string
  readonly pool: Sandbox['pool']
  readonly wall: string | undefined
  readonly session: SandboxSession | undefined
  readonly held: Sandbox['held']
  readonly #parts: ZonedParts
  readonly #zones = new Map<string, LiveZone>()
  readonly #ends: Promise<void>[] = []
  #listener: ZoneListener | undefined
  #exchange: Exchange | undefined
  #split: ZoneSplit | undefined
  readonly #controls = new ZoneControls()
  /** True once the supervisor knows the zones and tightens each of them itself. */
  #isSupervisorInformed = false
  #sink: Sink | undefined
  #cause: KillCause | undefined
  /** Time of the first kill of the whole. */
  #killedAt: number | undefined
  readonly #killed = Promise.withResolvers<void>()
  #isOver = false
  readonly #ran: RanFunction[] = []
  /** CPU time of ended zones, in milliseconds. */
  #cpuTime = 0
  readonly #network: NetworkAttempt[] = []
  #memory = { used: 0, peak: 0 }
  #disposing: Promise<void> | undefined
  readonly #channelTimers: Timer[] = []

  constructor(parts: ZonedParts) {
    const { id, provider, image, pool, wall, session, held } = parts.inner
    this.id = id
    this.provider = provider
    this.image = image
    this.pool = pool
    this.wall = wall
    this.session = session
    this.held = held
    this.#parts = parts
    this.#controls.add(whole, parts.inner, parts.profile.controls)
  }

  /** Receipt of `main`, with the CPU time of all walls. */
  get receipt(): Receipt | undefined {
    const { receipt } = this.#parts.inner
    if (receipt?.cpuTime === undefined) return receipt
    const all = [...this.#all()].map((one) => one.receipt?.cpuTime ?? 0)
    return { ...receipt, cpuTime: all.reduce((sum, ms) => sum + ms, 0) }
  }

  /** Zones made, and the reasons for those not made; undefined before the run. */
  get split(): ZoneSplit | undefined {
    return this.#split
  }

  /** Callers of a zone with their number of calls. */
  callersOf(zone: string): Readonly<Record<string, number>> {
    return this.#exchange?.callersOf(zone) ?? {}
  }

  /** Capabilities called by each zone so far. */
  get called(): ReadonlyMap<string, ReadonlySet<string>> {
    return new Map([...this.#zones].map(([name, { called }]) => [name, called]))
  }

  listen(listener: ZoneListener): void {
    this.#listener = listener
  }

  async run(task: Task, io: TaskIo): Promise<TaskEnd> {
    const { inner, profile } = this.#parts
    const split = task.split && !task.calls ? chooseZones(task.split, profile.schedule) : undefined
    this.#split = split
    this.#reportUnheld(split)
    const refusal = split && policyRefusalOf(split, profile.schedule)
    if (refusal !== undefined)
      return { ...cut, status: 'unavailable', error: { code: 'UNAVAILABLE', message: refusal } }
    if (!split || split.zones.length === 0) return await inner.run(task, io)

    const permitted = new Map([
      [whole, split.calls],
      ...split.zones.map(({ name, calls }) => [name, calls] as const),
    ])
    const { budget, clock } = this.#parts
    const limits = this.#limitsIn(split)
    this.#exchange = new Exchange({
      permitted,
      ...(budget && { budget }),
      limits,
      now: () => clock.now(),
      note: (note) => this.#note(note),
    })
    const began = await this.#begin(split, task, io)
    if (began !== undefined) return began
    this.#controls.begin()
    const main = carveMain(task, split)
    const end = await inner.run(carved(task, main, task.capabilities), {
      ...io,
      released: () => this.#released(io, limits),
      call: (name, text) => this.#call(whole, io, name, text),
    })
    await this.#drainZones(task.trace ? zoneEndMsMax.traced : zoneEndMsMax.usual, io)
    return this.#mergeEnds(end, task)
  }

  /** Sums cost and merges network attempts of all walls. */
  #mergeEnds(end: TaskEnd, { trace }: Task): TaskEnd {
    const { used, peak } = this.#memory
    const { memory, network } = end
    const isTold = network !== undefined || this.#network.length > 0
    return {
      ...end,
      cpuTime: end.cpuTime + this.#cpuTime,
      ...(memory && { memory: { used: memory.used + used, peak: memory.peak + peak } }),
      ...(isTold && { network: [...(network ?? []), ...this.#network].slice(0, attemptsMax) }),
      ...(trace && { ran: [...(end.ran ?? []), ...this.#ran] }),
    }
  }

  async tighten(to: Controls, zone: string = whole): Promise<Enforced> {
    if (zone !== whole) return await this.#tightenZone(to, zone)
    const uninformed = this.#isSupervisorInformed ? [] : [...this.#zones.keys()]
    const [done, ...others] = await Promise.all([
      this.#controls.tighten(whole, to),
      ...uninformed.map((one) => this.#tightenZone(to, one)),
    ])
    this.#revokeWaysBack()
    const unenforced = [done, ...others].flatMap((one) => one.unenforced)
    return { ...done, unenforced: [...new Set(unenforced)] }
  }

  /** Rejects pending calls to the zone and kills its wall. */
  endZone(zone: string): Promise<void> {
    const live = this.#live(zone)
    this.#exchange?.end(zone, 'its zone has ended')
    live.sandbox.kill({ status: 'terminated', reason: 'its zone has ended' })
    return Promise.resolve()
  }

  /** CPU time of one zone, or of the program with all zones, ended ones included. */
  cpuTime(zone: string = whole): number | undefined {
    if (zone !== whole) return this.#zones.get(zone)?.sandbox.cpuTime?.()
    const main = this.#parts.inner.cpuTime?.()
    if (main === undefined) return undefined
    return this.#running.reduce(
      (sum, { sandbox }) => sum + (sandbox.cpuTime?.() ?? 0),
      main + this.#cpuTime,
    )
  }

  async freeze(): Promise<void> {
    for (const one of this.#all()) await one.freeze()
  }

  async thaw(): Promise<void> {
    for (const one of this.#all()) await one.thaw()
  }

  watch(sink: Sink): void {
    this.#sink = sink
    this.#parts.inner.watch(sink)
  }

  capture(): Promise<Capture> {
    return this.#parts.inner.capture()
  }

  kill(cause: KillCause): void {
    this.#cause ??= cause
    this.#killedAt ??= this.#parts.clock.now()
    this.#killed.resolve()
    for (const one of this.#all()) one.kill(cause)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#destroy()
    return this.#disposing
  }

  async #destroy(): Promise<void> {
    for (const timer of this.#channelTimers) timer.cancel()
    for (const name of this.#zones.keys()) this.#exchange?.end(name, over)
    await Promise.all([...this.#all()].map((one) => one[Symbol.asyncDispose]()))
  }

  /**
   * Gives zones a grace period to end by themselves, which leaves their walls reusable. Kills the others and waits for
   * their ends too: on a busy machine a zone often ends after the grace period, and the outcome would lack its cost.
   */
  async #drainZones(graceMs: number, io: TaskIo): Promise<void> {
    const { clock } = this.#parts
    this.#isOver = true
    for (const timer of this.#channelTimers) timer.cancel()
    for (const name of this.#zones.keys()) this.#exchange?.end(name, over)
    const ends = Promise.all(this.#ends)
    await waitAtMost(graceMs, Promise.race([ends, this.#killed.promise]), clock)
    if (this.#running.length === 0) return
    for (const { sandbox } of this.#running) sandbox.kill({ status: 'terminated', reason: over })
    io.stopped?.()
    const deadline = (this.#killedAt ?? clock.now()) + endMsMax
    await waitAtMost(deadline - clock.now(), ends, clock)
    for (const live of this.#running) this.#giveUp(live)
  }

  /** Zones that have not ended yet. */
  get #running(): readonly LiveZone[] {
    return [...this.#zones.values()].filter(({ ended }) => !ended)
  }

  /** Counts the CPU time sampled so far, and reports the rest as missing. */
  #giveUp(live: LiveZone): void {
    live.ended = true
    this.#cpuTime += live.sandbox.cpuTime?.() ?? 0
    this.#listener?.lost(live.zone.name, lostZone)
  }

  *#all(): Generator<Sandbox> {
    yield this.#parts.inner
    for (const { sandbox } of this.#zones.values()) yield sandbox
  }

  /** Starts all zones before any code of the program runs. Returns the end if that failed. */
  async #begin(split: ZoneSplit, task: Task, io: TaskIo): Promise<TaskEnd | undefined> {
    const { profile, launch } = this.#parts
    const made = await Promise.allSettled(
      split.zones.map(async (zone) => {
        const sandbox = await launch(zoneProfile(profile, zone))
        this.#zones.set(zone.name, { zone, sandbox, ended: false, called: new Set() })
        this.#controls.add(zone.name, sandbox, zoneGrant(profile, zone))
        await this.#applyMissedTightens(zone.name)
      }),
    )
    const failed = made.find((one) => one.status === 'rejected')
    if (this.#cause) this.kill(this.#cause)
    if (this.#cause || this.#disposing) return cut
    if (failed) return launchFailed(failed.reason)
    const ready = [...this.#zones.values()].map((live) => this.#serve(live, task, io))
    await Promise.all(ready)
    return this.#cause ? cut : undefined
  }

  /** Applies everything the program lost while this wall was being made (race between launch and tighten). */
  async #applyMissedTightens(name: string): Promise<void> {
    const { unenforced } = await this.#tightenZone(this.#controls.ordered(whole), name)
    if (unenforced.length === 0) return
    const message = `Cannot begin the zone "${name}": its wall cannot close ${unenforced.join(', ')}`
    throw new MayflyError('UNAVAILABLE', message)
  }

  /** Resolves once the zone serves calls, or ended; rejects if it cannot begin, as where its egress path cannot be opened. */
  #serve(live: LiveZone, task: Task, io: TaskIo): Promise<void> {
    const { zone, sandbox } = live
    const { name, capabilities } = zone
    sandbox.watch((event) => this.#sink?.({ ...event, zone: name }))
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const may = capabilities === 'any' ? task.capabilities : capabilities
    const own = carved(
      task,
      carveZone(task, zone),
      may.filter((one) => task.capabilities.includes(one)),
    )
    const end = sandbox.run(
      { ...own, zone: name, inputText: 'null', files: [] },
      {
        stdout: (chunk) => io.stdout(chunk),
        stderr: (chunk) => io.stderr(chunk),
        released: resolve,
        call: (called, text) => this.#call(name, io, called, text),
      },
    )
    const gone = this.#awaitEnd(live, end)
    this.#ends.push(gone.catch(() => undefined))
    void gone.then(resolve, reject)
    return promise
  }

  async #awaitEnd(live: LiveZone, end: Promise<TaskEnd>): Promise<void> {
    const how = await end
    // Too late: the outcome exists already, and reports this end as missing.
    if (live.ended) return
    const { name } = live.zone
    this.#cpuTime += how.cpuTime
    this.#network.push(...(how.network ?? []).slice(0, attemptsMax - this.#network.length))
    this.#memory.used += how.memory?.used ?? 0
    this.#memory.peak += how.memory?.peak ?? 0
    for (const ran of how.ran ?? []) this.#ran.push({ ...ran, zone: name })
    const why = this.#isOver ? over : whyEnded(how)
    live.ended = true
    this.#exchange?.end(name, why)
    this.#listener?.gone(name, why)
  }

  #released(io: TaskIo, limits: (ends: ChannelEnds) => ChannelLimits): void {
    io.released()
    this.#isSupervisorInformed = true
    const { schedule } = this.#parts.profile
    for (const { zone, ended } of this.#zones.values())
      if (!ended) this.#listener?.began(zone.name, zoneNameIn(schedule, zone) ?? zone.kind)
    for (const ends of this.#exchange?.open ?? []) this.#closeLater(ends, limits(ends).closesAt)
  }

  #closeLater(ends: ChannelEnds, ms: number | undefined): void {
    if (ms === undefined) return
    const why = `its schedule closes this channel after ${ms} ms`
    const timer = this.#parts.clock.after(ms, () => {
      if (!this.#isOver) this.#exchange?.revoke(ends, why)
    })
    timer.unref?.()
    this.#channelTimers.push(timer)
  }

  /** Limits of the channel between two zones of this program. */
  #limitsIn({ zones }: ZoneSplit): (ends: ChannelEnds) => ChannelLimits {
    const { schedule } = this.#parts.profile
    const names = new Map(zones.map((zone) => [zone.name, zoneNameIn(schedule, zone)]))
    const nameOf = (zone: string) => names.get(zone) ?? zone
    return ({ from, to }) =>
      channelLimits(schedule.channels ?? [], { from: nameOf(from), to: nameOf(to) })
  }

  #reportUnheld(split: ZoneSplit | undefined): void {
    for (const policy of unheldPolicies(split, this.#parts.profile.schedule))
      this.#listener?.unheld(policy)
  }

  async #call(zone: string, io: TaskIo, name: string, text: string): Promise<string> {
    if (name === channelCapability) return await this.#exchange!.handle(zone, text)
    const called = this.#zones.get(zone)?.called
    if (called && called.size < calledMax) called.add(name)
    if (!io.call) throw new MayflyError('FORBIDDEN', `Cannot call "${name}": nobody answers`)
    return await io.call(name, text, zone)
  }

  async #tightenZone(to: Controls, name: string): Promise<Enforced> {
    const { ended } = this.#live(name)
    const next = meet(this.#controls.ordered(name), to)
    if (ended || controlsBeyond(this.#controls.enforced(name), next).length === 0)
      return { controls: next, took: 0, unenforced: [] }
    const done = await this.#controls.tighten(name, next)
    this.#revokeWaysBack()
    return done
  }

  /** Revokes channels that lead back to a lost right; must run before a tighten resolves. */
  #revokeWaysBack(): void {
    const exchange = this.#exchange
    if (!exchange) return
    for (const { channel, zone } of channelsToRevoke(this.#controls.rights, exchange.open))
      exchange.revoke(channel, `its channel was revoked when "${zone}" was tightened`)
  }

  #note(note: ChannelNote): void {
    this.#listener?.channel(note)
    if (note.what !== 'refused') return
    const fields = { capability: `zone:${note.to}`, why: note.why }
    this.#sink?.(deniedCall(null, note.from, fields))
  }

  #live(zone: string): LiveZone {
    const live = this.#zones.get(zone)
    if (live) return live
    throw new MayflyError('NOT_FOUND', `Cannot find the zone "${zone}"`)
  }
}

const lostZone = `its wall did not answer within ${endMsMax / 1000} s when it was killed: its network attempts, its memory and its last CPU time are missing`

/** Resolves with the promise, or at the deadline. */
async function waitAtMost(ms: number, promise: Promise<unknown>, clock: Clock): Promise<void> {
  const late = Promise.withResolvers<void>()
  const timer = clock.after(Math.max(0, ms), late.resolve)
  try {
    await Promise.race([promise, late.promise])
  } finally {
    timer.cancel()
  }
}

/** Task of one zone, derived from the program's task. */
function carved(task: Task, { code, entry }: CarvedSource, capabilities: readonly string[]): Task {
  const { split: _split, ...rest } = task
  return { ...rest, code, entry, capabilities: [...capabilities, channelCapability] }
}

const cut: TaskEnd = {
  status: 'terminated',
  resultText: 'null',
  encoding: 'json',
  cpuTime: 0,
  artifacts: [],
}

/** No fallback to one piece: a program that needs zones does not run without them. */
function launchFailed(thrown: unknown): TaskEnd {
  const code = thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
  const message = `Cannot make a zone of its program: ${messageOf(thrown)}`
  return { ...cut, status: isBroken(thrown) ? 'failed' : 'unavailable', error: { code, message } }
}

function whyEnded({ status, error }: TaskEnd): string {
  if (status === 'ok') return 'its zone has ended'
  const what = error?.code === undefined ? status : `${status} ${error.code}`
  return `its zone has ended: ${what}`
}
