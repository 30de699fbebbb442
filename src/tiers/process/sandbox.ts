import type { Server } from 'node:net'
import { callClasses, classesToClose } from '../../contract/calls.ts'
import {
  controlsBeyond,
  grantsNetwork,
  meet,
  type Control,
  type Controls,
} from '../../contract/controls.ts'
import { MayflyError } from '../../contract/error.ts'
import type { Sink, Emitter } from '../../contract/event.ts'
import type { DisplayItem } from '../../contract/outcome.ts'
import type { Profile } from '../../contract/profile.ts'
import type {
  Capture,
  Enforced,
  KillCause,
  Receipt,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
  ZoneListener,
} from '../../contract/provider.ts'
import type { Frame } from '../../lib/frames.ts'
import type { WardenClient } from '../../walls/client.ts'
import type { HandleEnd, WallHandle } from '../../walls/handle.ts'
import { lookEveryMs } from '../../warden/hold.ts'
import { lookAt, type Looking } from '../../walls/looking.ts'
import { lower, stricter } from '../../walls/lower.ts'
import type { BoundMechanisms, WallCost } from '../../contract/warden.ts'
import type { OpenWayOut, WayOut } from '../../walls/exit.ts'
import { endOfWall, lostEnd } from '../../walls/ends.ts'
import { artifactCap, type ArtifactCap } from './artifact-cap.ts'
import { isLargeInput, isSentAhead, piecesOf } from './ahead.ts'
import { MemoryCopies, withoutSentinel } from './capture.ts'
import { closableBy, hasSentinel, heldByCalls, tellCalls } from './calls.ts'
import { boundsWithin, deadlineOf } from './claim.ts'
import { endOfProgram } from './end.ts'
import { Stillness } from './still.ts'
import { readStream, type ProgramStream } from './stream.ts'
import { tellZone } from './zones.ts'
import {
  answeredSchema,
  artifactSchema,
  displaySchema,
  endSchema,
  headed,
  kind,
  releasedSchema,
} from './wire.ts'

/** More than these are no artifacts of an honest job; how many may leave is for the gate to say. */
const ARTIFACTS_MAX = 1000
/** The same for what is shown: a runner of ours tells half as much. */
const DISPLAYED_MAX = 128
const DISPLAYED_BYTES_MAX = 2 * 2 ** 20
/** Time that a reader has to take what was printed before a job was ended; shorter than anybody waits for the end. */
const READ_MS_MAX = 1000
const full =
  'This server holds as many artifacts of running jobs as it may: run it again, or fewer that leave large files at once'
const unseen: WallCost = { peakBytes: 0, cpuMs: 0 }

/** Controls that every wall can close while its program runs. */
export const tightenedAlways = [
  'network',
  'cpu',
  'memory',
  'processes',
  'capabilities',
] as const satisfies readonly Control[]

export interface ProcessParts {
  readonly provider: string
  readonly profile: Profile
  readonly wall: WallHandle
  readonly warden: WardenClient
  readonly voice: Emitter
  readonly pool: 'hit' | 'miss'
  /** Where its way out ends, when it was granted one. */
  readonly listener: Server | undefined
  readonly openWayOut: OpenWayOut
  /** What holds each control, read back from the kernel. */
  readonly held: BoundMechanisms
  /** The one of this server, unless given. */
  readonly artifactCap?: ArtifactCap
}

/**
 * One life of one program behind a wall of the kernel's own. Its streams come on sockets of their own, and whatever
 * comes on the third is read as if an enemy had written it: the program shares a process with whoever does.
 */
export class ProcessSandbox implements Sandbox {
  readonly id: string
  readonly provider: string
  readonly image: string
  readonly pool: 'hit' | 'miss'
  readonly held: Readonly<Record<string, string>>
  readonly tightens: readonly Control[]
  readonly #memory = new MemoryCopies()
  readonly #still = new Stillness({
    stop: () => this.#parts.warden.freeze(this.#parts.wall.wall.id),
    goOn: async () => this.#ended || this.#parts.warden.thaw(this.#parts.wall.wall.id),
  })
  readonly #parts: ProcessParts
  readonly #artifactCap: ArtifactCap
  #artifacts: { readonly path: string; readonly bytes: Uint8Array }[] = []
  #artifactBytes = 0
  readonly #display: DisplayItem[] = []
  #displayBytes = 0
  #answers = 0
  #controls: Controls
  /** The meeting of all that was ever asked for, from the moment in which it was asked. */
  #wanted: Controls
  #wayOut: WayOut | undefined
  #streams: readonly ProgramStream[] = []
  #task: Task | undefined
  #io: TaskIo | undefined
  #cause: KillCause | undefined
  #settle: ((end: TaskEnd) => void) | undefined
  /** Its end has been read, and what it printed before is being. */
  #hasSaid = false
  /** On the monotonic clock. */
  #releasedAt: number | undefined
  /** The last that was taken from the whole. */
  #tightening: Promise<unknown> = Promise.resolve()
  #looking: Looking | undefined
  #calls: ReturnType<typeof tellCalls> | undefined
  #ended = false
  /** What it had used when it was held. */
  #rested = unseen
  #disposing: Promise<void> | undefined
  receipt: Receipt | undefined

  constructor(id: string, parts: ProcessParts) {
    this.id = id
    this.#parts = parts
    this.provider = parts.provider
    this.image = parts.profile.image
    this.pool = parts.pool
    this.held = { ...parts.held }
    this.tightens = [...tightenedAlways, ...closableBy(parts.wall.wall.calls)]
    this.#controls = parts.profile.controls
    this.#wanted = this.#controls
    this.#artifactCap = parts.artifactCap ?? artifactCap
  }

  get wall(): string {
    return this.#parts.wall.wall.id
  }

  get heldBytes(): number {
    const unread = this.#streams.reduce((sum, stream) => sum + stream.heldBytes, 0)
    return this.#artifactBytes + this.#displayBytes + this.#parts.wall.unreadBytes + unread
  }

  /** Whether its wall has a sentinel. */
  get isWatched(): boolean {
    return hasSentinel(this.#parts.wall.wall)
  }

  async run(task: Task, io: TaskIo): Promise<TaskEnd> {
    if (this.#task || this.#disposing)
      throw new MayflyError('CONFLICT', 'Cannot run a second task: a sandbox is used once')
    const { wall, profile } = this.#parts
    this.#task = task
    this.#io = io
    await this.#openWayOut(task.run)
    const { promise, resolve } = Promise.withResolvers<TaskEnd>()
    this.#settle = resolve
    if (this.isWatched) this.#calls = tellCalls(this.#about)
    wall.ref(true)
    this.#streams = this.#open(io)
    wall.listen({ frame: (frame) => this.#hear(frame), ended: (end) => void this.#lost(end) })
    if (!this.#ended) for (const piece of piecesOf(task)) wall.send(kind.ahead, piece)
    if (!this.#ended)
      wall.send(kind.run, JSON.stringify({ ...carried(task, profile), trust: this.#wayOut?.trust }))
    return promise
  }

  /** Of the zones of its programs, which the warden makes. */
  listen(listener: ZoneListener): void {
    const { warden, wall } = this.#parts
    warden.onZone(wall.wall.id, (told) => tellZone(listener, told))
  }

  async tighten(to: Controls, zone?: string): Promise<Enforced> {
    if (zone !== undefined) return await this.#tightenZone(to, zone)
    const tightening = this.#tightenWhole(to)
    this.#tightening = tightening.catch(() => undefined)
    return await tightening
  }

  async endZone(zone: string): Promise<void> {
    const { warden, wall } = this.#parts
    await warden.kill(wall.wall.id, zone)
  }

  /** Its bounds are its own; what else it may do is what the whole may. */
  async #tightenZone(to: Controls, zone: string): Promise<Enforced> {
    const began = performance.now()
    // What is taken from the whole is taken from its zones in the same turn.
    await Promise.resolve()
    await this.#tightening
    const { warden, wall } = this.#parts
    const asked = boundsWithin(to, this.#controls)
    await warden.tighten(wall.wall.id, { zone, ...asked })
    const controls = { ...this.#controls, ...asked }
    const unenforced = controlsBeyond(controls, to)
    return { controls, took: performance.now() - began, unenforced }
  }

  async #tightenWhole(to: Controls): Promise<Enforced> {
    const began = performance.now()
    const asked = stricter(this.#controls, to)
    // With whatever is asked for beside it, in whichever order they take.
    const next = (this.#wanted = meet(this.#wanted, asked))
    // What leaves is closed first: it is ours to close, and takes no time.
    this.#wayOut?.tighten(next)
    const { wall, warden } = this.#parts
    const { held: calls, answers } = await this.#closeCalls(next)
    const held = await lower(warden, wall.wall.id, this.#controls, next)
    this.#controls = meet(this.#controls, { ...next, ...held, ...calls })
    const unenforced = controlsBeyond(this.#controls, asked)
    const took = performance.now() - began
    return { controls: this.#controls, took, unenforced, ...(answers && { answers }) }
  }

  /** Files and system calls stay as they were where no sentinel answers for them. */
  async #closeCalls(next: Controls) {
    const { wall, warden } = this.#parts
    const { id, calls } = wall.wall
    const held = heldByCalls(this.#controls, next, calls)
    const closed = classesToClose(this.#controls, next).filter((name) => calls.includes(name))
    if (closed.length === 0) return { held, answers: undefined }
    const allow = callClasses.filter((name) => !closed.includes(name))
    const { answers } = await warden.calls(id, [{ afterMs: 0, allow }])
    return { held, answers }
  }

  freeze(): Promise<void> {
    return this.#still.freeze()
  }

  thaw(): Promise<void> {
    return this.#still.thaw()
  }

  watch(_sink: Sink): void {
    // What a program does inside is not seen from here; its way out speaks for itself.
  }

  /** Standing still it has no deadline any more: whoever holds it kills it. */
  async hold(): Promise<void> {
    const { wall, warden } = this.#parts
    // What it sent before lies in sockets, and would go on leaving.
    this.#wayOut?.close()
    await this.#still.hold()
    this.#rested = await warden.release(wall.wall.id)
  }

  /** It stands still while it is copied. Rejects with MayflyError UNAVAILABLE where the copy does not come. */
  async capture(): Promise<Capture> {
    const { wall, warden } = this.#parts
    if (!hasSentinel(wall.wall)) return withoutSentinel(wall.wall)
    return await this.#still.during(() =>
      this.#memory.copy(
        () => warden.memory(wall.wall.id),
        (bytes) => warden.capture(wall.wall.id, bytes),
      ),
    )
  }

  /** What was printed before lies in the sockets, and is read after the end. */
  kill(cause: KillCause): void {
    if (this.#cause || this.#ended) return
    this.#cause = cause
    this.#wayOut?.close()
    setTimeout(() => {
      for (const stream of this.#streams) stream.giveUp()
    }, READ_MS_MAX).unref()
    void this.#parts.wall.kill()
  }

  /** Of the whole: what a zone of its programs works is not told while it runs. */
  cpuTime(zone?: string): number | undefined {
    return zone === undefined ? (this.#looking?.cpuMs ?? 0) : undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#destroy()
    return this.#disposing
  }

  async #destroy(): Promise<void> {
    const began = performance.now()
    const { wall, listener } = this.#parts
    if (this.#wayOut) this.#wayOut.close()
    else listener?.close()
    await wall.kill()
    wall.listen(undefined)
    wall.ref(false)
    for (const stream of this.#streams) stream.close()
    this.#memory.close()
    this.#uncountArtifacts()
    const took = performance.now() - began
    const freedBytes = this.#controls.memory + wall.wall.idleBytes
    this.receipt = { id: this.id, took, freedBytes, forced: ['SIGKILL'] }
  }

  async #openWayOut(run: string): Promise<void> {
    const { listener, openWayOut, wall, warden, profile } = this.#parts
    if (!listener) return
    const { privateHosts } = profile
    const wayOut = await openWayOut(this.#controls, run, { privateHosts })
    this.#wayOut = wayOut
    // While it was being opened it could not be told.
    wayOut.tighten(this.#wanted)
    if (this.#cause || this.#disposing) wayOut.close()
    wayOut.listen(listener, (ends) => warden.callers(wall.wall.id, ends))
  }

  #open(io: TaskIo): readonly ProgramStream[] {
    const { wall, profile } = this.#parts
    const bytesMax = profile.limits.output
    const flooded = () => this.kill({ status: 'limit', code: 'OUTPUT' })
    const { stdout, stderr } = wall.streams!
    return [
      readStream({ socket: stdout, bytesMax, flooded, take: (chunk) => io.stdout(chunk) }),
      readStream({ socket: stderr, bytesMax, flooded, take: (chunk) => io.stderr(chunk) }),
    ]
  }

  #hear(frame: Frame): void {
    if (this.#ended || this.#hasSaid) return
    switch (frame.kind) {
      case kind.released:
        return this.#release(frame.payload)
      case kind.artifact:
        return this.#artifact(frame.payload)
      case kind.display:
        return this.#show(frame.payload)
      case kind.answered:
        return this.#answered(frame.payload)
      case kind.end:
        return void this.#end(frame.payload)
      default:
        return this.#garbled(`unknown frame ${frame.kind}`)
    }
  }

  /** From here on the warden counts too: it ends the life when nobody here is there to do it. */
  #release(payload: Buffer): void {
    if (this.#releasedAt !== undefined) return
    const at = releasedSchema.safeParse(payload.toString('latin1'))
    if (!at.success) return this.#garbled('unreadable release')
    this.#releasedAt = performance.now()
    const { wall, warden, profile } = this.#parts
    warden.arm(wall.wall.id, deadlineOf(profile))
    this.#looking = lookAt(this.#about)
    this.#calls?.released(at.data)
    this.#io?.released()
  }

  get #about() {
    const { warden, wall, voice } = this.#parts
    return { warden, wall: wall.wall.id, run: this.#task?.run ?? '', voice }
  }

  /** Whether these may leave is for the gate to say; here they are only kept from growing without bound. */
  #artifact(payload: Buffer): void {
    const read = headed(artifactSchema, payload)
    if (!read || read.head.size !== read.rest.length) return this.#garbled('unreadable artifact')
    const { path, size } = read.head
    const bytesMax = this.#parts.profile.limits.artifacts
    if (this.#artifacts.length > ARTIFACTS_MAX) return this.#garbled('too many artifacts')
    if (this.#artifactBytes + size > bytesMax) {
      const message = `The artifacts are larger than ${bytesMax} bytes together`
      return this.#cutOff(lostEnd('error', 'ARTIFACTS_TOO_LARGE', message, 0))
    }
    if (!this.#artifactCap.take(size))
      return this.#cutOff(lostEnd('failed', 'HOST_MEMORY', full, 0))
    this.#artifactBytes += size
    // A copy: a payload shares its memory with frames around it, which may be large and are not counted.
    this.#artifacts.push({ path, bytes: new Uint8Array(read.rest) })
  }

  #uncountArtifacts(): void {
    this.#artifactCap.giveBack(this.#artifactBytes)
    this.#artifactBytes = 0
  }

  #show(payload: Buffer): void {
    const read = headed(displaySchema, payload)
    if (!read) return this.#garbled('unreadable display')
    const { type, path } = read.head
    this.#displayBytes += read.rest.length
    if (this.#display.length >= DISPLAYED_MAX || this.#displayBytes > DISPLAYED_BYTES_MAX)
      return this.#garbled('too much to display')
    this.#display.push(path === undefined ? { type, text: read.rest.toString() } : { type, path })
  }

  /** More answers than calls no runner of ours gives. */
  #answered(payload: Buffer): void {
    const read = headed(answeredSchema, payload)
    if (!read || ++this.#answers > (this.#task?.calls ?? 0))
      return this.#garbled('unreadable answer')
    const { status, encoding, error, executionMs } = read.head
    this.#io?.answered?.({
      status,
      resultText: read.rest.toString('utf8'),
      encoding,
      executionTime: executionMs,
      ...(error && { error: withoutAbsent(error) }),
    })
  }

  async #end(payload: Buffer): Promise<void> {
    const read = headed(endSchema, payload)
    if (!read) return this.#garbled('unreadable end')
    this.#hasSaid = true
    const drained = Promise.all(this.#streams.map((stream) => stream.drained()))
    const [seen] = await Promise.all([this.#used(), drained])
    const { status, error, encoding, exitCode, signal, cpuTimeMs, artifactsLeftOut } = read.head
    this.#finish({
      status: this.#cause?.status === 'timeout' ? 'timeout' : status,
      resultText: read.rest.toString('utf8'),
      encoding,
      // What the program says of itself may be less than the truth.
      cpuTime: Math.max(cpuTimeMs, seen.cpuMs),
      artifacts: this.#artifacts,
      display: this.#display,
      ...(artifactsLeftOut && { leftOut: artifactsLeftOut }),
      ...(error && { error: withoutAbsent(error) }),
      ...(exitCode !== undefined && { exitCode }),
      ...(signal !== undefined && { signal }),
      ...memoryOf(seen.peakBytes, this.#parts.wall.wall.idleBytes),
    })
  }

  /** What the warden saw; nothing where it cannot have looked, and is not asked. */
  async #used(): Promise<WallCost> {
    const { wall, warden } = this.#parts
    if (performance.now() - (this.#releasedAt ?? Infinity) < lookEveryMs.beside) return unseen
    return await warden.release(wall.wall.id).catch(() => unseen)
  }

  /** It ended without a word: by whom it was killed, else the status it ended with is its end. */
  async #lost(end: HandleEnd): Promise<void> {
    if (this.#ended || this.#hasSaid) return
    await Promise.all(this.#streams.map((stream) => stream.drained()))
    const own = this.#cause ? undefined : endOfProgram(end)
    // What its wall used before it is not the job's.
    const all = Math.max(end.peakBytes, this.#rested.peakBytes)
    const peakBytes = Math.max(0, all - this.#parts.wall.wall.idleBytes)
    const told = own ?? endOfWall({ ...end, peakBytes }, this.#cause)
    // Where nothing of it was left to be asked, what was last seen of it counts.
    const seen = Math.max(end.exit?.cpuMs ?? 0, this.#looking?.cpuMs ?? 0)
    const cpuTime = Math.max(told.cpuTime, seen)
    // What it showed before is there all the same.
    this.#finish({ ...told, cpuTime, artifacts: this.#artifacts, display: this.#display })
  }

  #garbled(why: string): void {
    this.#cutOff(lostEnd('failed', 'PROTOCOL', `Cannot read what the wall says: ${why}`, 0))
  }

  /** Ends it for what its runner says, of which nothing is passed on. */
  #cutOff(end: TaskEnd): void {
    void this.#parts.wall.kill()
    this.#uncountArtifacts()
    this.#artifacts = []
    this.#finish(end)
  }

  #finish(end: TaskEnd): void {
    if (this.#ended) return
    this.#ended = true
    this.#looking?.[Symbol.dispose]()
    const network = this.#wayOut?.attempts
    this.#settle?.(network ? { ...end, network } : end)
  }
}

/** What the program used above what its wall used before it. */
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

function withoutAbsent<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as never
}
