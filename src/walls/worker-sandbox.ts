import {
  controlsBeyond,
  grantsFiles,
  grantsNetwork,
  meet,
  type Control,
  type Controls,
} from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { Sink } from '../contract/event.ts'
import { plainFiles } from '../contract/files.ts'
import type { Profile } from '../contract/profile.ts'
import type { Capture, Enforced, KillCause, Task, TaskEnd } from '../contract/provider.ts'
import type { Frame } from '../lib/frames.ts'
import { fetchCapability, type OpenWayOut } from './exit.ts'
import { filesCapability, type FolderCalls, type OpenFolders } from './folder-calls.ts'
import { FramedSandbox, type Freed, type SandboxParts } from './framed-sandbox.ts'
import { GuestCalls } from './guest-calls.ts'
import type { HandleEnd, WallHandle } from './handle.ts'
import { LoopShare } from './loop-share.ts'
import { lower } from './lower.ts'
import { headed, kind, withoutAbsent, workerAnsweredSchema, workerEndSchema } from './wire.ts'

/** After a timeout the guest may still send what it had printed, before its process is killed. */
const GRACE_MS = 40
/** A job below both leaves its worker as it was. */
const SMALL_CHARS = 65_536
const SMALL_BYTES = 6 * 2 ** 20
/** A guest that is not reported as dropped by then goes with its process. */
const DISPOSE_MS_MAX = 1_000
/** Longest character in UTF-8. */
const CHARACTER_BYTES_MAX = 4

export interface WorkerParts extends SandboxParts {
  readonly give: (worker: WallHandle) => void
  /** Settings of this kind of worker, beside the task and its limits. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Opens the exit of a guest's own `fetch`, where its job was granted a network. */
  readonly openWayOut?: OpenWayOut
  /** Opens folders for its calls, where its job was granted some. */
  readonly openFolders?: OpenFolders
  /** The wall is this job's alone: its bounds can be lowered, and it can be frozen. */
  readonly isWhole?: boolean
  /** Capabilities that the guest holds from the start, and that cannot be revoked. */
  readonly heldCapabilities?: readonly string[]
  /** Controls that it can close while it runs, where that differs from its provider's others. */
  readonly tightens?: readonly Control[]
}

/** Life in a jailed worker: a fresh guest for one job, whose output comes in frames. */
export class WorkerSandbox extends FramedSandbox<WorkerParts> {
  readonly tightens: readonly Control[] | undefined
  readonly #share = new LoopShare()
  /** Frames that came while reading was held. */
  readonly #behind: Frame[] = []
  readonly #dropped = Promise.withResolvers<void>()
  readonly #calls: GuestCalls
  #folders: FolderCalls | undefined
  #sink: Sink | undefined
  /** Reasons for which reading is held: a chunk is being taken, or its share of the event loop is used up. */
  #holds = 0

  constructor(id: string, parts: WorkerParts) {
    super(id, parts)
    this.tightens = parts.tightens
    this.#calls = new GuestCalls({
      wall: parts.wall,
      voice: parts.voice,
      now: () => this.#now,
      garbled: (why) => this.garbled(why),
    })
  }

  get #now() {
    const { controls, wayOut, task, io, ended: isEnded } = this
    return { controls, wayOut, task, io, isEnded, folders: this.#folders, sink: this.#sink }
  }

  async tighten(to: Controls): Promise<Enforced> {
    const began = performance.now()
    const { asked, next } = this.want(to)
    const { wall, warden, isWhole, heldCapabilities = [] } = this.parts
    const holds = withHeld(next, this.controls, heldCapabilities)
    const held = isWhole ? await lower(warden, wall.wall.id, this.controls, next) : {}
    this.controls = meet(this.controls, { ...holds, ...held })
    this.wayOut?.tighten(this.controls)
    this.#folders?.tighten(this.controls)
    const unenforced = controlsBeyond(this.controls, asked)
    return { controls: this.controls, took: performance.now() - began, unenforced }
  }

  async freeze(): Promise<void> {
    const { wall, warden, isWhole } = this.parts
    if (isWhole) return void (await warden.freeze(wall.wall.id))
    const message = `Cannot freeze a guest of "${this.provider}": this wall has no such ability`
    throw new MayflyError('UNAVAILABLE', message)
  }

  async thaw(): Promise<void> {
    const { wall, warden, isWhole } = this.parts
    if (isWhole) await warden.thaw(wall.wall.id)
    else await this.freeze()
  }

  /** CPU time of its process, which has no other guest while this one lives. */
  override cpuTime(): number {
    return this.samples?.cpuMs ?? 0
  }

  watch(sink: Sink): void {
    this.#sink = sink
  }

  capture(): Promise<Capture> {
    return Promise.resolve({ kind: 'none', parts: [] })
  }

  kill(cause: KillCause): void {
    if (this.cause || this.ended) return
    this.cause = cause
    // Requests that it sent before its worker is dead must not leave.
    this.wayOut?.close()
    if (cause.status !== 'timeout') return void this.parts.wall.kill()
    setTimeout(() => {
      if (!this.ended) void this.parts.wall.kill()
    }, GRACE_MS)
  }

  protected async openExits({ run, zone }: Task): Promise<void> {
    const { profile, openWayOut, openFolders } = this.parts
    const { network, files } = this.controls
    const { privateHosts } = profile
    if (openWayOut && grantsNetwork(network))
      this.adopt(await openWayOut(this.controls, run, { zone, privateHosts }))
    const asked = { controls: this.controls, run, writtenMax: profile.limits.disk }
    if (openFolders && grantsFiles(files)) this.#folders = await openFolders(asked)
    this.#folders?.tighten(this.wanted)
  }

  /** Output comes in frames. */
  protected subscribe(): void {}

  protected send(task: Task): void {
    const { wall, profile, settings } = this.parts
    wall.send(kind.run, JSON.stringify({ protocol: 1, ...carried(task, profile), ...settings }))
  }

  /** The socket is paused while reading is held, so that the frames behind are of one read. */
  protected hear(frame: Frame): void {
    if (this.#holds > 0) this.#behind.push(frame)
    else this.#frame(frame)
  }

  protected lost(end: HandleEnd): void {
    this.finish(this.endOf(end))
    this.#dropped.resolve()
  }

  protected async destroy(): Promise<Freed> {
    const { wall, warden, give } = this.parts
    if (!this.task) this.#dropped.resolve()
    else if (!this.ended) void wall.kill()
    const isClean = await within(this.#dropped.promise, DISPOSE_MS_MAX)
    if (!isClean) await wall.kill()
    wall.listen(undefined)
    wall.ref(false)
    if (wall.alive) void warden.release(wall.wall.id).catch(() => undefined)
    give(wall)
    return {
      freedBytes: wall.alive ? this.controls.memory : wall.wall.idleBytes,
      forced: wall.alive ? [] : ['SIGKILL'],
    }
  }

  protected override finish(end: TaskEnd): void {
    if (!this.ended) this.wayOut?.close()
    super.finish(end)
  }

  #frame(frame: Frame): void {
    switch (frame.kind) {
      case kind.released:
        return this.#release()
      case kind.stdout:
      case kind.stderr:
        return this.#stream(frame)
      case kind.call:
        return this.#timed(frame.payload)
      case kind.end:
        return this.#end(frame.payload)
      case kind.answered:
        if (this.ended) return this.garbled('unreadable answer')
        return this.answered(frame.payload, workerAnsweredSchema)
      case kind.idle:
        return this.#dropped.resolve()
      default:
        return this.garbled(`unknown frame ${frame.kind}`)
    }
  }

  #release(): void {
    if (this.ended) return
    this.sample()
    this.io?.released()
  }

  #stream(frame: Frame): void {
    if (this.ended) return
    const took =
      frame.kind === kind.stdout ? this.io?.stdout(frame.payload) : this.io?.stderr(frame.payload)
    if (!took) return
    this.#hold()
    const taken = () => this.#goOn()
    took.then(taken, taken)
  }

  #hold(): void {
    this.#holds++
    this.parts.wall.pause()
  }

  #goOn(): void {
    this.#holds--
    while (this.#holds === 0 && this.#behind.length > 0) this.#frame(this.#behind.shift()!)
    if (this.#holds === 0) this.parts.wall.resume()
  }

  /** Rate limit of the event loop: reading the calls of one guest must not stop those of all others. */
  #timed(payload: Buffer): void {
    const began = performance.now()
    void this.#calls.answer(payload)
    const waitMs = this.#share.wait(performance.now() - began)
    if (waitMs === 0 || this.ended) return
    this.#hold()
    setTimeout(() => this.#goOn(), waitMs).unref()
  }

  #end(payload: Buffer): void {
    const read = headed(workerEndSchema, payload)
    if (!read) return this.garbled('unreadable end')
    const { cpuTimeMs, memory, error, encoding, status, ran, pending } = read.head
    if (!isSmall(this.task!, payload, memory?.peak)) this.parts.wall.heldTo = undefined
    this.finish({
      status: this.statusOf(status),
      resultText: read.rest.toString(),
      encoding,
      cpuTime: cpuTimeMs,
      artifacts: [],
      ...(error && { error: withoutAbsent(error) }),
      ...(memory && { memory }),
      ...(pending && { pending }),
      ...(ran && { ran: ran.map(([start, end, calls]) => ({ start, end, calls })) }),
    })
  }
}

/** Controls that really hold: CPU, memory and held capabilities stay for as long as the guest lives. */
function withHeld(next: Controls, before: Controls, held: readonly string[]): Controls {
  const { cpu, memory } = before
  if (next.capabilities === 'any' || before.capabilities === 'any') return { ...next, cpu, memory }
  const kept = before.capabilities.filter((name) => held.includes(name))
  const capabilities = [...new Set([...next.capabilities, ...kept])].sort()
  return { ...next, cpu, memory, capabilities }
}

function carried(task: Task, profile: Profile) {
  const { controls, limits, schedule } = profile
  const lifeMs = schedule.phases.reduce((sum, phase) => sum + phase.for, 0)
  return {
    language: task.language,
    entry: task.entry,
    isEntryGuessed: task.isEntryGuessed ?? false,
    ...(task.name !== undefined && { name: task.name }),
    code: task.code,
    ...(task.typed && { typed: true }),
    inputText: task.inputText,
    files: plainFiles(task.files),
    capabilities: [
      ...task.capabilities,
      ...(grantsNetwork(controls.network) ? [fetchCapability] : []),
      ...(grantsFiles(controls.files) ? [filesCapability] : []),
    ],
    ...(task.calls !== undefined && { calls: task.calls }),
    ...(task.trace && { trace: true }),
    memoryBytes: controls.memory,
    timeoutMs: Math.min(limits.timeout, lifeMs),
    // A character more than may leave: the gate, which cuts, then sees that there was more.
    outputBytesMax: limits.output + CHARACTER_BYTES_MAX,
    resultBytesMax: limits.result,
  }
}

/** Whether nothing passed through the worker that could keep it from its idle size. */
function isSmall(task: Task, end: Buffer, peakBytes = Infinity): boolean {
  const text = task.code.length + task.inputText.length + end.length
  return text < SMALL_CHARS && task.files.length === 0 && peakBytes < SMALL_BYTES
}

/** Whether it settled in time. */
async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => void (timer = setTimeout(resolve, ms, false)))
  const isClean = await Promise.race([promise.then(() => true), late])
  clearTimeout(timer)
  return isClean
}
