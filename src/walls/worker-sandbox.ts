import { plainFiles } from '../contract/files.ts'
import {
  controlsBeyond,
  grantsFiles,
  grantsNetwork,
  meet,
  type Control,
  type Controls,
} from '../contract/controls.ts'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Sink, Emitter } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import type {
  Capture,
  Enforced,
  KillCause,
  Receipt,
  Sandbox,
  Task,
  TaskEnd,
  TaskIo,
} from '../contract/provider.ts'
import type { Frame } from '../lib/frames.ts'
import type { WardenClient } from './client.ts'
import { filesCapability, type FolderCalls, type OpenFolders } from './folder-calls.ts'
import type { WallHandle, HandleEnd } from './handle.ts'
import { lookAt, type Looking } from './looking.ts'
import { LoopShare } from './loop-share.ts'
import { lower, stricter } from './lower.ts'
import { fetchCapability, type OpenWayOut, type WayOut } from './exit.ts'
import { endOfWall, lostEnd } from './ends.ts'
import {
  answeredSchema,
  argsBytesMax,
  callSchema,
  endMetaBytesMax,
  endSchema,
  kind,
} from './worker-wire.ts'
import { parseJson } from '../lib/parse-json.ts'

/** After a timeout the guest gets this long to say what it had printed, before the process is killed. */
const GRACE_MS = 40
/** A job below both leaves its worker as it was. */
const SMALL_CHARS = 65_536
const SMALL_BYTES = 6 * 2 ** 20
/** A guest that is not said to be gone by then goes with its process. */
/** Calls of one job, and bytes of answers it has not read: an honest guest waits for its answers. */
const CALLS_MAX = 100_000
const BACKLOG_BYTES_MAX = 8 * 2 ** 20
const DISPOSE_MS_MAX = 1_000

export interface WorkerParts {
  readonly provider: string
  readonly profile: Profile
  readonly worker: WallHandle
  readonly warden: WardenClient
  readonly voice: Emitter
  readonly pool: 'hit' | 'miss'
  readonly give: (worker: WallHandle) => void
  /** What this kind of worker is told beside the task and its limits. */
  readonly settings: Readonly<Record<string, unknown>>
  /** Opens what a guest's own `fetch` goes through, where its job was granted a network. */
  readonly openWayOut?: OpenWayOut
  /** Opens what its calls for files go through, where its job was granted folders. */
  readonly openFolders?: OpenFolders
  /** Whether the wall is this job's alone, with bounds of its own that can be lowered, and can stand still. */
  readonly isWhole?: boolean
  /** Capabilities that the guest has in its hands from the start, and that nobody can take back. */
  readonly heldCapabilities?: readonly string[]
  /** Controls that it can close while it runs, where that differs from its provider's others. */
  readonly tightens?: readonly Control[]
}

/**
 * One life in a jailed worker: the worker makes a guest that was never used before, for one job, and whatever it says is
 * read as if an enemy had said it.
 */
export class WorkerSandbox implements Sandbox {
  readonly id: string
  readonly provider: string
  readonly image: string
  readonly pool: 'hit' | 'miss'
  readonly tightens: readonly Control[] | undefined
  readonly #parts: WorkerParts
  #controls: Controls
  /** The meeting of all that was ever asked for, from the moment in which it was asked. */
  #wanted: Controls
  #wayOut: WayOut | undefined
  #folders: FolderCalls | undefined
  #sink: Sink | undefined
  #task: Task | undefined
  #io: TaskIo | undefined
  #cause: KillCause | undefined
  #looking: Looking | undefined
  #settle: ((end: TaskEnd) => void) | undefined
  #ended = false
  #calls = 0
  #answers = 0
  /** For how many reasons nothing more is read: a chunk is being taken, or its share of our time is used up. */
  #holds = 0
  readonly #share = new LoopShare()
  /** What came behind. */
  readonly #behind: Frame[] = []
  readonly #gone = Promise.withResolvers<void>()
  #disposing: Promise<void> | undefined
  receipt: Receipt | undefined

  constructor(id: string, parts: WorkerParts) {
    this.id = id
    this.#parts = parts
    this.provider = parts.provider
    this.image = parts.profile.image
    this.pool = parts.pool
    this.tightens = parts.tightens
    this.#controls = parts.profile.controls
    this.#wanted = this.#controls
  }

  get wall(): string {
    return this.#parts.worker.wall.id
  }

  async run(task: Task, io: TaskIo): Promise<TaskEnd> {
    if (this.#task || this.#disposing)
      throw new MayflyError('CONFLICT', 'Cannot run a second task: a sandbox is used once')
    const { worker, profile, settings } = this.#parts
    this.#task = task
    await this.#openWays(task)
    this.#io = io
    const { promise, resolve } = Promise.withResolvers<TaskEnd>()
    this.#settle = resolve
    worker.ref(true)
    worker.listen({ frame: (frame) => this.#hear(frame), ended: (end) => this.#lost(end) })
    if (!this.#ended)
      worker.send(kind.run, JSON.stringify({ protocol: 1, ...carried(task, profile), ...settings }))
    return promise
  }

  /** What a guest has no way to itself is opened out here, as far as it was granted. */
  async #openWays({ run, zone }: Task): Promise<void> {
    const { profile, openWayOut, openFolders } = this.#parts
    const { network, files } = this.#controls
    if (openWayOut && grantsNetwork(network))
      this.#wayOut = await openWayOut(this.#controls, run, {
        zone,
        privateHosts: profile.privateHosts,
      })
    // What was tightened or ended while they were being opened could not be told to them.
    this.#wayOut?.tighten(this.#wanted)
    if (this.#cause || this.#disposing) this.#wayOut?.close()
    const asked = { controls: this.#controls, run, writtenMax: profile.limits.disk }
    if (openFolders && grantsFiles(files)) this.#folders = await openFolders(asked)
    this.#folders?.tighten(this.#wanted)
  }

  async tighten(to: Controls): Promise<Enforced> {
    const began = performance.now()
    const asked = stricter(this.#controls, to)
    // With whatever is asked for beside it, in whichever order they take.
    const next = (this.#wanted = meet(this.#wanted, asked))
    const holds = withHeld(next, this.#controls, this.#parts.heldCapabilities ?? [])
    const { worker, warden, isWhole } = this.#parts
    const held = isWhole ? await lower(warden, worker.wall.id, this.#controls, next) : {}
    this.#controls = meet(this.#controls, { ...holds, ...held })
    this.#wayOut?.tighten(this.#controls)
    this.#folders?.tighten(this.#controls)
    const unenforced = controlsBeyond(this.#controls, asked)
    return { controls: this.#controls, took: performance.now() - began, unenforced }
  }

  async freeze(): Promise<void> {
    const { worker, warden, isWhole } = this.#parts
    if (isWhole) return void (await warden.freeze(worker.wall.id))
    const message = `Cannot freeze a guest of "${this.provider}": this wall has no such ability`
    throw new MayflyError('UNAVAILABLE', message)
  }

  async thaw(): Promise<void> {
    const { worker, warden, isWhole } = this.#parts
    if (isWhole) await warden.thaw(worker.wall.id)
    else await this.freeze()
  }

  watch(sink: Sink): void {
    this.#sink = sink
  }

  capture(): Promise<Capture> {
    return Promise.resolve({ kind: 'none', parts: [] })
  }

  kill(cause: KillCause): void {
    if (this.#cause || this.#ended) return
    this.#cause = cause
    // Before its worker is dead it may have asked for something.
    this.#wayOut?.close()
    if (cause.status !== 'timeout') return void this.#parts.worker.kill()
    setTimeout(() => {
      if (!this.#ended) void this.#parts.worker.kill()
    }, GRACE_MS)
  }

  /** Of its process, which has no other guest while this one lives. */
  cpuTime(): number {
    return this.#looking?.cpuMs ?? 0
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposing ??= this.#destroy()
    return this.#disposing
  }

  async #destroy(): Promise<void> {
    const began = performance.now()
    const { worker, warden, give } = this.#parts
    if (!this.#task) this.#gone.resolve()
    else if (!this.#ended) void worker.kill()
    const clean = await within(this.#gone.promise, DISPOSE_MS_MAX)
    if (!clean) await worker.kill()
    worker.listen(undefined)
    worker.ref(false)
    if (worker.alive) void warden.release(worker.wall.id).catch(() => undefined)
    give(worker)
    this.receipt = {
      id: this.id,
      took: performance.now() - began,
      freedBytes: worker.alive ? this.#controls.memory : worker.wall.idleBytes,
      forced: worker.alive ? [] : ['SIGKILL'],
    }
  }

  /** While it is held, what came behind waits; the socket is paused, so that this is one read. */
  #hear(frame: Frame): void {
    if (this.#holds > 0) this.#behind.push(frame)
    else this.#frame(frame)
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
        return this.#answered(frame.payload)
      case kind.idle:
        return this.#gone.resolve()
      default:
        return this.#garbled(`unknown frame ${frame.kind}`)
    }
  }

  #release(): void {
    if (this.#ended) return
    const { worker, warden, voice } = this.#parts
    const { run = '', zone } = this.#task ?? {}
    this.#looking ??= lookAt({ warden, wall: worker.wall.id, run, zone, voice })
    this.#io?.released()
  }

  #stream(frame: Frame): void {
    if (this.#ended) return
    const took =
      frame.kind === kind.stdout ? this.#io?.stdout(frame.payload) : this.#io?.stderr(frame.payload)
    if (!took) return
    this.#hold()
    const taken = () => this.#goOn()
    took.then(taken, taken)
  }

  #hold(): void {
    this.#holds++
    this.#parts.worker.pause()
  }

  #goOn(): void {
    this.#holds--
    while (this.#holds === 0 && this.#behind.length > 0) this.#frame(this.#behind.shift()!)
    if (this.#holds === 0) this.#parts.worker.resume()
  }

  /** Its text is read in this turn, before anything of it waits for somebody else. */
  #timed(payload: Buffer): void {
    const began = performance.now()
    void this.#call(payload)
    const waitMs = this.#share.wait(performance.now() - began)
    if (waitMs === 0 || this.#ended) return
    this.#hold()
    setTimeout(() => this.#goOn(), waitMs).unref()
  }

  /** What is not granted, or not any more, is refused here, whatever the guest believes it has. */
  async #call(payload: Buffer): Promise<void> {
    const { head, text: args } = parted(payload)
    const read = callSchema.safeParse(head)
    if (!read.success || args.length > argsBytesMax) return this.#garbled('unreadable call')
    if (this.#ended) return
    if (++this.#calls > CALLS_MAX || this.#parts.worker.backlogBytes > BACKLOG_BYTES_MAX) {
      return this.#garbled('too many calls')
    }
    const { id, name } = read.data
    const argsText = args.toString()
    try {
      if (name === fetchCapability && this.#wayOut) return await this.#fetch(id, argsText)
      if (name === filesCapability && this.#folders) return await this.#files(id, argsText)
      this.#assertGranted(name)
      if (!this.#io?.call)
        throw new MayflyError('FORBIDDEN', `Cannot call "${name}": nobody answers`)
      const text = await this.#io.call(name, argsText)
      // It may have been revoked meanwhile: then the answer is no longer the guest's.
      this.#assertGranted(name)
      this.#reply({ id, text })
    } catch (error) {
      this.#reply({ id, error: messageOf(error) })
    }
  }

  /** What comes after the end is for nobody: its worker may have another guest by then. */
  #reply(answer: { readonly id: number } & Readonly<Record<string, unknown>>): void {
    if (!this.#ended) this.#parts.worker.send(kind.reply, JSON.stringify(answer))
  }

  /** Held to the network in force, by whoever lets it out: it names no capability that a phase could take back. */
  async #fetch(id: number, argsText: string): Promise<void> {
    const text = await this.#wayOut!.fetch(argsText)
    this.#reply({ id, text })
  }

  /** Held to the folders in force, in the same way. */
  async #files(id: number, argsText: string): Promise<void> {
    const text = await this.#folders!.answer(argsText)
    this.#reply({ id, text })
  }

  #assertGranted(name: string): void {
    const { capabilities } = this.#controls
    if (capabilities === 'any' || capabilities.includes(name)) return
    this.#say(name)
    throw new MayflyError('FORBIDDEN', `Cannot call "${name}": it is not granted`)
  }

  #say(capability: string): void {
    const fields = { capability: capability.slice(0, 200) }
    this.#parts.voice.say('capability/denied', fields, {
      run: this.#task?.run ?? null,
      zone: this.#task?.zone ?? 'main',
      trust: 'wall',
    })
    this.#sink?.({
      format: 1,
      seq: 0,
      at: Date.now(),
      run: this.#task?.run ?? null,
      zone: 'main',
      point: 'capability/denied',
      actor: 'guest',
      trust: 'wall',
      fields,
    })
  }

  /** More answers than calls, or one after the end, no worker of ours gives. */
  #answered(payload: Buffer): void {
    const { head, text } = parted(payload)
    const read = answeredSchema.safeParse(head)
    if (!read.success || this.#ended || ++this.#answers > (this.#task?.calls ?? 0))
      return this.#garbled('unreadable answer')
    const { status, encoding, error, executionMs } = read.data
    this.#io?.answered?.({
      status,
      resultText: text.toString(),
      encoding,
      executionTime: executionMs,
      ...(error && { error: withoutAbsent(error) }),
    })
  }

  #end(payload: Buffer): void {
    const { head, text } = parted(payload)
    const read = endSchema.safeParse(head)
    if (!read.success) return this.#garbled('unreadable end')
    const { cpuTimeMs, memory, error, encoding, status, ran, pending } = read.data
    if (!isSmall(this.#task!, payload, memory?.peak)) this.#parts.worker.heldTo = undefined
    this.#finish({
      status: this.#cause?.status === 'timeout' ? 'timeout' : status,
      resultText: text.toString(),
      encoding,
      cpuTime: cpuTimeMs,
      artifacts: [],
      ...(error && { error: withoutAbsent(error) }),
      ...(memory && { memory }),
      ...(pending && { pending }),
      ...(ran && { ran: ran.map(([start, end, calls]) => ({ start, end, calls })) }),
    })
  }

  /** A worker that writes what no worker writes has been broken into, or is broken: it is not used again. */
  #garbled(why: string): void {
    void this.#parts.worker.kill()
    this.#finish(lostEnd('failed', 'PROTOCOL', `Cannot read what the wall says: ${why}`, 0))
  }

  #lost(end: HandleEnd): void {
    const told = endOfWall(end, this.#cause)
    // Where nothing of it was left to be asked, what was last seen of it counts.
    this.#finish({ ...told, cpuTime: Math.max(told.cpuTime, this.cpuTime()) })
    this.#gone.resolve()
  }

  #finish(end: TaskEnd): void {
    if (this.#ended) return
    this.#ended = true
    this.#looking?.[Symbol.dispose]()
    this.#wayOut?.close()
    const network = this.#wayOut?.attempts
    this.#settle?.(network ? { ...end, network } : end)
  }
}

/** Of one character in UTF-8. */
const characterBytesMax = 4

/** What really holds after a tightening: some things stay as they were for as long as the guest lives. */
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
    outputBytesMax: limits.output + characterBytesMax,
    resultBytesMax: limits.result,
  }
}

/** Whether the worker is as it was before: nothing that could keep it from its idle size passed through it. */
function isSmall(task: Task, end: Buffer, peakBytes = Infinity): boolean {
  const text = task.code.length + task.inputText.length + end.length
  return text < SMALL_CHARS && task.files.length === 0 && peakBytes < SMALL_BYTES
}

/** A line of JSON and the text behind it; no head where there is no such line. */
function parted(payload: Buffer): { readonly head: unknown; readonly text: Buffer } {
  const cut = payload.indexOf(10)
  const isHead = cut > 0 && cut < endMetaBytesMax
  return {
    head: isHead ? parsed(payload.subarray(0, cut)) : undefined,
    text: payload.subarray(cut + 1),
  }
}

function parsed(bytes: Buffer): unknown {
  try {
    return parseJson(bytes.toString())
  } catch {
    return undefined
  }
}

function withoutAbsent<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as never
}

/** Whether it settled in time. */
async function within(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => void (timer = setTimeout(resolve, ms, false)))
  const clean = await Promise.race([promise.then(() => true), late])
  clearTimeout(timer)
  return clean
}
