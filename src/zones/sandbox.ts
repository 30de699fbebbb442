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
  Task,
  TaskEnd,
  TaskIo,
  ZoneListener,
} from '../contract/provider.ts'
import type { NetworkAttempt } from '../contract/outcome.ts'
import type { ProgramZone, ZoneSplit } from '../contract/zones.ts'
import { carveMain, carveZone, type Carved } from './carve.ts'
import { chooseZones } from './choose.ts'
import { channelCapability, Exchange, type ChannelBudget, type ChannelNote } from './exchange.ts'
import { grantOf, profileOf } from './grant.ts'
import { Holdings } from './holdings.ts'
import { waysBack } from './reach.ts'

const calledMax = 100
/** As many as one wall tells of. */
const attemptsMax = 4096
const over = 'the program is over'
/** What zones have to end in once their program is over, in milliseconds. */
const goneMsMax = 50

/** What of a program stays in no zone of its own. */
const whole = 'main'

export interface ZonedParts {
  /** The wall of the residual zone, which runs the program whole where it has no zones. */
  readonly inner: Sandbox
  readonly profile: Profile
  /** Makes one more wall of the same kind. */
  readonly launch: (profile: Profile) => Promise<Sandbox>
  readonly budget?: ChannelBudget
}

interface Live {
  readonly zone: ProgramZone
  readonly sandbox: Sandbox
  ended: boolean
  /** Capabilities that it called. */
  readonly called: Set<string>
}

/**
 * A sandbox of several walls: the residual zone in one, and each zone of its program in a wall of its own, so that what
 * one uses up no other lacks. Zones talk by the exchange alone, as JSON text that is read here.
 */
export class ZonedSandbox implements Sandbox {
  readonly #parts: ZonedParts
  readonly #zones = new Map<string, Live>()
  readonly #ends: Promise<void>[] = []
  #listener: ZoneListener | undefined
  #exchange: Exchange | undefined
  #split: ZoneSplit | undefined
  readonly #holdings = new Holdings()
  /** Whether whoever supervises was told of its zones, and tightens each of them itself. */
  #isHeard = false
  #sink: Sink | undefined
  #cause: KillCause | undefined
  #isOver = false
  readonly #ran: RanFunction[] = []
  /** Of zones that have ended, in milliseconds. */
  #cpuTime = 0
  readonly #network: NetworkAttempt[] = []
  #memory = { used: 0, peak: 0 }
  #disposing: Promise<void> | undefined

  constructor(parts: ZonedParts) {
    this.#parts = parts
    this.#holdings.add(whole, parts.inner, parts.profile.controls)
  }

  get id(): string {
    return this.#parts.inner.id
  }

  get provider(): string {
    return this.#parts.inner.provider
  }

  get image(): string {
    return this.#parts.inner.image
  }

  get pool(): Sandbox['pool'] {
    return this.#parts.inner.pool
  }

  get wall(): string | undefined {
    return this.#parts.inner.wall
  }

  get receipt(): Receipt | undefined {
    return this.#parts.inner.receipt
  }

  /** The zones that were made and why the rest was not; undefined before it runs. */
  get split(): ZoneSplit | undefined {
    return this.#split
  }

  /** Which zones called one, and how often each did. */
  callersOf(zone: string): Readonly<Record<string, number>> {
    return this.#exchange?.callersOf(zone) ?? {}
  }

  /** What each zone called so far, by name. */
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
    if (!split || split.zones.length === 0) return await inner.run(task, io)

    const permitted = new Map([
      [whole, split.calls],
      ...split.zones.map(({ name, calls }) => [name, calls] as const),
    ])
    const { budget } = this.#parts
    this.#exchange = new Exchange({
      permitted,
      ...(budget && { budget }),
      note: (note) => this.#note(note),
    })
    const began = await this.#begin(split, task, io)
    if (began !== undefined) return began
    this.#holdings.begin()
    const main = carveMain(task, split)
    const end = await inner.run(carved(task, main, task.capabilities), {
      ...io,
      released: () => this.#released(io),
      call: (name, text) => this.#call(whole, io, name, text),
    })
    await this.#letGo()
    return this.#together(end, task)
  }

  /** What it cost is what all of its walls did, and where it went is where any of them went. */
  #together(end: TaskEnd, { trace }: Task): TaskEnd {
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
    const unheard = this.#isHeard ? [] : [...this.#zones.keys()]
    const [done, ...others] = await Promise.all([
      this.#holdings.tighten(whole, to),
      ...unheard.map((one) => this.#tightenZone(to, one)),
    ])
    this.#sever()
    const unenforced = [done, ...others].flatMap((one) => one.unenforced)
    return { ...done, unenforced: [...new Set(unenforced)] }
  }

  /** Whoever waits for it is told, and nothing of it is left running. */
  endZone(zone: string): Promise<void> {
    const live = this.#live(zone)
    this.#exchange?.end(zone, 'its zone has ended')
    live.sandbox.kill({ status: 'terminated', reason: 'its zone has ended' })
    return Promise.resolve()
  }

  /** Of a zone, or of the whole: its zones too, those that have ended and those that run. */
  cpuTime(zone: string = whole): number | undefined {
    if (zone !== whole) return this.#zones.get(zone)?.sandbox.cpuTime?.()
    const main = this.#parts.inner.cpuTime?.()
    if (main === undefined) return undefined
    const running = [...this.#zones.values()].filter(({ ended }) => !ended)
    return running.reduce(
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
    for (const one of this.#all()) one.kill(cause)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#destroy()
    return this.#disposing
  }

  async #destroy(): Promise<void> {
    for (const name of this.#zones.keys()) this.#exchange?.end(name, over)
    await Promise.all([...this.#all()].map((one) => one[Symbol.asyncDispose]()))
  }

  /** A zone that ends by itself leaves its wall as it was; one that does not is killed with it. */
  async #letGo(): Promise<void> {
    this.#isOver = true
    for (const name of this.#zones.keys()) this.#exchange?.end(name, over)
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, goneMsMax)
    await Promise.race([Promise.all(this.#ends), late.promise])
    clearTimeout(timer)
  }

  *#all(): Generator<Sandbox> {
    yield this.#parts.inner
    for (const { sandbox } of this.#zones.values()) yield sandbox
  }

  /** Every zone is there before anything of the program runs. Undefined, or how it ended before it began. */
  async #begin(split: ZoneSplit, task: Task, io: TaskIo): Promise<TaskEnd | undefined> {
    const { profile, launch } = this.#parts
    const made = await Promise.allSettled(
      split.zones.map(async (zone) => {
        const sandbox = await launch(profileOf(profile, zone))
        this.#zones.set(zone.name, { zone, sandbox, ended: false, called: new Set() })
        this.#holdings.add(zone.name, sandbox, grantOf(profile, zone))
        await this.#catchUp(zone.name)
      }),
    )
    const failed = made.find((one) => one.status === 'rejected')
    if (this.#cause) this.kill(this.#cause)
    if (this.#cause || this.#disposing) return cut
    if (failed) return notHad(failed.reason)
    const ready = [...this.#zones.values()].map((live) => this.#serve(live, task, io))
    await Promise.all(ready)
    return this.#cause ? cut : undefined
  }

  /** What the whole lost before the wall of a zone was there, to its first phase or to an order, is taken from that too. */
  async #catchUp(name: string): Promise<void> {
    const { unenforced } = await this.#tightenZone(this.#holdings.asked(whole), name)
    if (unenforced.length === 0) return
    const message = `Cannot begin the zone "${name}": its wall cannot close ${unenforced.join(', ')}`
    throw new MayflyError('UNAVAILABLE', message)
  }

  /** Resolves once it answers calls, or cannot. */
  #serve(live: Live, task: Task, io: TaskIo): Promise<void> {
    const { zone, sandbox } = live
    const { name, capabilities } = zone
    sandbox.watch((event) => this.#sink?.({ ...event, zone: name }))
    const { promise, resolve } = Promise.withResolvers<void>()
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
    this.#ends.push(gone)
    void gone.then(resolve)
    return promise
  }

  async #awaitEnd(live: Live, end: Promise<TaskEnd>): Promise<void> {
    const how = await end
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

  #released(io: TaskIo): void {
    io.released()
    this.#isHeard = true
    for (const { zone, ended } of this.#zones.values())
      if (!ended) this.#listener?.began(zone.name, zone.kind)
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
    const next = meet(this.#holdings.asked(name), to)
    if (ended || controlsBeyond(this.#holdings.has(name), next).length === 0)
      return { controls: next, took: 0, unenforced: [] }
    const done = await this.#holdings.tighten(name, next)
    this.#sever()
    return done
  }

  /** A channel gives nobody back what was taken. Whoever says that something was taken says it after this. */
  #sever(): void {
    const exchange = this.#exchange
    if (!exchange) return
    for (const { channel, zone } of waysBack(this.#holdings.standing, exchange.open))
      exchange.revoke(channel, `its channel was revoked when "${zone}" was tightened`)
  }

  #note(note: ChannelNote): void {
    this.#listener?.channel(note)
    if (note.what !== 'refused') return
    this.#sink?.({
      format: 1,
      seq: 0,
      at: Date.now(),
      run: null,
      zone: note.from,
      point: 'capability/denied',
      actor: 'guest',
      trust: 'wall',
      fields: { capability: `zone:${note.to}`, why: note.why },
    })
  }

  #live(zone: string): Live {
    const live = this.#zones.get(zone)
    if (live) return live
    throw new MayflyError('NOT_FOUND', `Cannot find the zone "${zone}"`)
  }
}

/** The program of one zone in the task of the whole. */
function carved(task: Task, { code, entry }: Carved, capabilities: readonly string[]): Task {
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

/** Nothing of it ran: a program that is to be apart does not run in one piece because a wall is missing. */
function notHad(thrown: unknown): TaskEnd {
  const code = thrown instanceof MayflyError ? thrown.code : 'INTERNAL'
  const message = `Cannot make a zone of its program: ${messageOf(thrown)}`
  return { ...cut, status: isBroken(thrown) ? 'failed' : 'unavailable', error: { code, message } }
}

function whyEnded({ status, error }: TaskEnd): string {
  if (status === 'ok') return 'its zone has ended'
  const what = error?.code === undefined ? status : `${status} ${error.code}`
  return `its zone has ended: ${what}`
}
