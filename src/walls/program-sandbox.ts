import type { Server } from 'node:net'
import { callClasses, classesToClose } from '../contract/calls.ts'
import {
  controlsBeyond,
  grantsNetwork,
  meet,
  type Control,
  type Controls,
} from '../contract/controls.ts'
import type { Sink } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import type {
  Capture,
  Enforced,
  KillCause,
  Task,
  TaskEnd,
  TaskIo,
  ZoneListener,
} from '../contract/provider.ts'
import { sampleEveryMs, type BoundMechanisms, type WallCost } from '../contract/warden.ts'
import type { Frame } from '../lib/frames.ts'
import { artifactCap, type ArtifactCap } from './artifact-cap.ts'
import { endOfProgram } from './ends.ts'
import type { OpenWayOut } from './exit.ts'
import { FramedSandbox, type Freed, type SandboxParts } from './framed-sandbox.ts'
import type { HandleEnd } from './handle.ts'
import { GuestFiles } from './guest-files.ts'
import { lower } from './lower.ts'
import { MemoryCopies, withoutSentinel } from './memory-capture.ts'
import { readStream, type ProgramStream } from './output-stream.ts'
import { PauseState } from './pause.ts'
import { boundsWithin, deadlineOf } from './program-claim.ts'
import { reportZone } from './report-zone.ts'
import { isLargeInput, isSentAhead, piecesOf } from './send-ahead.ts'
import { closableBy, hasSentinel, heldByCalls, reportCalls } from './sentinel-calls.ts'
import {
  headed,
  kind,
  programAnsweredSchema,
  programEndSchema,
  releasedSchema,
  withoutAbsent,
} from './wire.ts'

/** Time for a reader to take what was printed before a job was ended; shorter than anybody waits for the end. */
const READ_MS_MAX = 1000
const unseen: WallCost = { peakBytes: 0, cpuMs: 0 }

/** Controls that every wall of programs can close while its program runs. */
export const tightenedAlways = [
  'network',
  'cpu',
  'memory',
  'processes',
  'capabilities',
] as const satisfies readonly Control[]

export interface ProgramParts extends SandboxParts {
  /** Listener inside the wall for what leaves it, where it was granted a network. */
  readonly listener: Server | undefined
  readonly openWayOut: OpenWayOut
  /** Mechanism that holds each bound, read back from the kernel. */
  readonly held: BoundMechanisms
  /** The cap of this server, unless given. */
  readonly artifactCap?: ArtifactCap
}

/**
 * Life of a whole program behind a wall. Its outputs come on sockets of their own; frames come on a third, whose writer
 * shares a process with user code.
 */
export class ProgramSandbox extends FramedSandbox<ProgramParts> {
  readonly held: Readonly<Record<string, string>>
  readonly tightens: readonly Control[]
  readonly #memory = new MemoryCopies()
  readonly #pause = new PauseState({
    stop: () => this.parts.warden.freeze(this.wall),
    resume: async () => this.ended || this.parts.warden.thaw(this.wall),
  })
  readonly #files: GuestFiles
  #streams: readonly ProgramStream[] = []
  #calls: ReturnType<typeof reportCalls> | undefined
  /** The end frame has been read, and the output before it is being drained. */
  #hasSaid = false
  /** On the monotonic clock: when the job was sent. */
  #sentAt = -Infinity
  #isReleased = false
  /** The last request that took something from the whole. */
  #tightening: Promise<unknown> = Promise.resolve()
  /** Usage when it was held. */
  #usedBefore = unseen

  constructor(id: string, parts: ProgramParts) {
    super(id, parts)
    this.held = { ...parts.held }
    this.tightens = [...tightenedAlways, ...closableBy(parts.wall.wall.calls)]
    this.#files = new GuestFiles(parts.profile.limits.artifacts, parts.artifactCap ?? artifactCap)
  }

  get heldBytes(): number {
    const unread = this.#streams.reduce((sum, stream) => sum + stream.heldBytes, 0)
    return this.#files.bytes + this.parts.wall.unreadBytes + unread
  }

  /** Whether its wall has a sentinel. */
  get isWatched(): boolean {
    return hasSentinel(this.parts.wall.wall)
  }

  /** Reports its zones of programs, which the warden makes. */
  listen(listener: ZoneListener): void {
    this.parts.warden.onZone(this.wall, (told) => reportZone(listener, told))
  }

  async tighten(to: Controls, zone?: string): Promise<Enforced> {
    if (zone !== undefined) return await this.#tightenZone(to, zone)
    const tightening = this.#tightenWhole(to)
    this.#tightening = tightening.catch(() => undefined)
    return await tightening
  }

  async endZone(zone: string): Promise<void> {
    await this.parts.warden.kill(this.wall, zone)
  }

  /** A zone has bounds of its own; its other controls are those of the whole. */
  async #tightenZone(to: Controls, zone: string): Promise<Enforced> {
    const began = performance.now()
    // Controls taken from the whole are taken from its zones in the same turn.
    await Promise.resolve()
    await this.#tightening
    const asked = boundsWithin(to, this.controls)
    await this.parts.warden.tighten(this.wall, { zone, ...asked })
    const controls = { ...this.controls, ...asked }
    const unenforced = controlsBeyond(controls, to)
    return { controls, took: performance.now() - began, unenforced }
  }

  async #tightenWhole(to: Controls): Promise<Enforced> {
    const began = performance.now()
    const { asked, next } = this.want(to)
    // The exit first: it is closed in this process and takes no time.
    this.wayOut?.tighten(next)
    const { held: calls, answers } = await this.#closeCalls(next)
    const held = await lower(this.parts.warden, this.wall, this.controls, next)
    this.controls = meet(this.controls, { ...next, ...held, ...calls })
    const unenforced = controlsBeyond(this.controls, asked)
    const took = performance.now() - began
    return { controls: this.controls, took, unenforced, ...(answers && { answers }) }
  }

  /** Without a sentinel, files and system calls stay as they were. */
  async #closeCalls(next: Controls) {
    const { wall, warden } = this.parts
    const { id, calls } = wall.wall
    const held = heldByCalls(this.controls, next, calls)
    const closed = classesToClose(this.controls, next).filter((name) => calls.includes(name))
    if (closed.length === 0) return { held, answers: undefined }
    const allow = callClasses.filter((name) => !closed.includes(name))
    const { answers } = await warden.calls(id, [{ afterMs: 0, allow }])
    return { held, answers }
  }

  freeze(): Promise<void> {
    return this.#pause.freeze()
  }

  thaw(): Promise<void> {
    return this.#pause.thaw()
  }

  /** System calls are reported by the sentinel, connections by the exit. */
  watch(_sink: Sink): void {}

  /** Frozen it has no deadline any more: the caller kills it. */
  async hold(): Promise<void> {
    // Bytes that it sent before lie in sockets and would go on leaving.
    this.wayOut?.close()
    await this.#pause.hold()
    this.#usedBefore = await this.parts.warden.release(this.wall)
  }

  /** Frozen while it is copied. Rejects with MayflyError UNAVAILABLE where the copy does not come. */
  async capture(): Promise<Capture> {
    const { wall, warden } = this.parts
    if (!hasSentinel(wall.wall) && !wall.wall.isImaged) return withoutSentinel(wall.wall)
    return await this.#pause.during(() =>
      this.#memory.copy(
        () => warden.memory(wall.wall.id),
        (bytes) => warden.capture(wall.wall.id, bytes),
      ),
    )
  }

  /** Output printed before lies in the sockets, and is read after the end. */
  kill(cause: KillCause): void {
    if (this.cause || this.ended) return
    this.cause = cause
    this.wayOut?.close()
    setTimeout(() => {
      for (const stream of this.#streams) stream.giveUp()
    }, READ_MS_MAX).unref()
    void this.parts.wall.kill()
  }

  protected async openExits({ run }: Task): Promise<void> {
    const { listener, openWayOut, warden, profile } = this.parts
    if (!listener) return
    const { privateHosts } = profile
    const wayOut = await openWayOut(this.controls, run, { privateHosts })
    this.adopt(wayOut)
    wayOut.listen(listener, (ends) => warden.callers(this.wall, ends))
  }

  protected subscribe(io: TaskIo): void {
    const { wall, warden, voice, profile } = this.parts
    const run = this.task?.run ?? ''
    if (this.isWatched) this.#calls = reportCalls({ warden, wall: this.wall, run, voice })
    const bytesMax = profile.limits.output
    const flooded = () => this.kill({ status: 'limit', code: 'OUTPUT' })
    const { stdout, stderr } = wall.streams!
    this.#streams = [
      readStream({ socket: stdout, bytesMax, flooded, take: (chunk) => io.stdout(chunk) }),
      readStream({ socket: stderr, bytesMax, flooded, take: (chunk) => io.stderr(chunk) }),
    ]
  }

  protected send(task: Task): void {
    const { wall, profile } = this.parts
    this.#sentAt = performance.now()
    for (const piece of piecesOf(task)) wall.send(kind.ahead, piece)
    wall.send(kind.run, JSON.stringify({ ...carried(task, profile), trust: this.wayOut?.trust }))
  }

  protected async destroy(): Promise<Freed> {
    const { wall, listener } = this.parts
    if (this.wayOut) this.wayOut.close()
    else listener?.close()
    await wall.kill()
    wall.listen(undefined)
    wall.ref(false)
    for (const stream of this.#streams) stream.close()
    this.#memory.close()
    this.#files.uncount()
    const freedBytes = this.controls.memory + wall.wall.idleBytes
    return { freedBytes, forced: ['SIGKILL'] }
  }

  protected hear(frame: Frame): void {
    if (this.ended || this.#hasSaid) return
    switch (frame.kind) {
      case kind.released:
        return this.#release(frame.payload)
      case kind.artifact:
        return this.#keep(this.#files.artifact(frame.payload))
      case kind.display:
        return this.#keep(this.#files.show(frame.payload))
      case kind.answered:
        return this.answered(frame.payload, programAnsweredSchema)
      case kind.end:
        return void this.#end(frame.payload)
      default:
        return this.garbled(`unknown frame ${frame.kind}`)
    }
  }

  /** From here on the warden counts too: it ends the life when nothing here does. */
  #release(payload: Buffer): void {
    if (this.#isReleased) return
    const at = releasedSchema.safeParse(payload.toString('latin1'))
    if (!at.success) return this.garbled('unreadable release')
    this.#isReleased = true
    this.parts.warden.arm(this.wall, deadlineOf(this.parts.profile))
    this.sample()
    this.#calls?.released(at.data)
    this.io?.released()
  }

  #keep(refused: TaskEnd | string | undefined): void {
    if (typeof refused === 'string') this.garbled(refused)
    else if (refused) this.cutOff(refused)
  }

  async #end(payload: Buffer): Promise<void> {
    const read = headed(programEndSchema, payload)
    if (!read) return this.garbled('unreadable end')
    this.#hasSaid = true
    const drained = Promise.all(this.#streams.map((stream) => stream.drained()))
    const [seen] = await Promise.all([this.#used(), drained])
    const { status, error, encoding, exitCode, signal, cpuTimeMs, artifactsLeftOut } = read.head
    this.finish({
      status: this.statusOf(status),
      resultText: read.rest.toString('utf8'),
      encoding,
      cpuTime: this.#cpuTimeOf(cpuTimeMs, seen),
      artifacts: this.#files.artifacts,
      display: this.#files.display,
      ...(artifactsLeftOut && { leftOut: artifactsLeftOut }),
      ...(error && { error: withoutAbsent(error) }),
      ...(exitCode !== undefined && { exitCode }),
      ...(signal !== undefined && { signal }),
      ...memoryOf(seen.peakBytes, this.parts.wall.wall.idleBytes),
    })
  }

  /** A program can report less than it used. */
  #cpuTimeOf(reported: number, seen: WallCost): number {
    const isExact = this.parts.wall.wall.countsTicks && seen !== unseen
    return isExact ? seen.cpuMs : Math.max(reported, seen.cpuMs)
  }

  /**
   * Usage that the warden saw; nothing where it cannot have taken a sample, and is not asked. The time since the job was
   * sent decides, not what the guest says of its release: a server that was busy reads both frames in one turn.
   */
  async #used(): Promise<WallCost> {
    if (performance.now() - this.#sentAt < sampleEveryMs.limited) return unseen
    return await this.parts.warden.release(this.wall).catch(() => unseen)
  }

  /** End without an `end` frame: by a kill, else by its exit status. */
  protected async lost(end: HandleEnd): Promise<void> {
    if (this.ended || this.#hasSaid) return
    await Promise.all(this.#streams.map((stream) => stream.drained()))
    const own = this.cause ? undefined : endOfProgram(end)
    // Memory of the wall before the job is not the job's.
    const all = Math.max(end.peakBytes, this.#usedBefore.peakBytes)
    const peakBytes = Math.max(0, all - this.parts.wall.wall.idleBytes)
    const ended = own ?? this.endOf({ ...end, peakBytes })
    const sampled = Math.max(end.exit?.cpuMs ?? 0, this.samples?.cpuMs ?? 0)
    const cpuTime = Math.max(ended.cpuTime, sampled)
    const { artifacts, display } = this.#files
    this.finish({ ...ended, cpuTime, artifacts, display })
  }

  /** Drops everything that the runner sent. */
  protected override cutOff(end: TaskEnd): void {
    this.#files.discard()
    super.cutOff(end)
  }
}

/** Memory of the program above what its wall used before it. */
function memoryOf(peakBytes: number, idleBytes: number): Pick<TaskEnd, 'memory'> {
  if (peakBytes === 0) return {}
  const peak = Math.max(0, peakBytes - idleBytes)
  return { memory: { used: peak, peak } }
}

function carried(task: Task, { limits, controls, schedule, capture }: Profile) {
  const lifeMs = schedule.phases.reduce((sum, phase) => sum + phase.for, 0)
  return {
    protocol: 1,
    language: task.language,
    entry: task.entry,
    isEntryGuessed: task.isEntryGuessed ?? false,
    ...(task.name !== undefined && { name: task.name }),
    code: task.code,
    ...(task.typed && { typed: true }),
    inputText: task.inputText,
    files: task.files.map((file) => (isSentAhead(file) ? { path: file.path, type: 'sent' } : file)),
    args: task.args ?? [],
    ...(task.stdin && { stdin: isLargeInput(task.stdin) ? { sent: true } : task.stdin }),
    capabilities: task.capabilities,
    env: task.env ?? {},
    timeoutMs: Math.min(limits.timeout, lifeMs),
    outputBytesMax: limits.output,
    resultBytesMax: limits.result,
    artifactBytesMax: limits.artifacts,
    processes: controls.processes,
    network: grantsNetwork(controls.network),
    ...(capture && { stays: true }),
    ...(task.calls !== undefined && { calls: task.calls }),
  }
}
