import { grantsFiles, grantsNetwork, type Control, type Controls } from '../contract/controls.ts'
import { plainFiles } from '../contract/files.ts'
import { MayflyError } from '../contract/error.ts'
import type { Profile } from '../contract/profile.ts'
import type { Task } from '../contract/provider.ts'
import type { Frame } from '../lib/frames.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import { present } from '../lib/present.ts'
import { resolvesWithin } from '../lib/within.ts'
import { artifactCap } from './artifact-cap.ts'
import { carriedTask } from './carried-task.ts'
import { fetchCapability } from './egress-path.ts'
import { filesCapability } from './folder-calls.ts'
import { GuestCalls } from './guest-calls.ts'
import { RealmEgress, type RealmEgressOptions } from './guest-egress.ts'
import type { Freed, GuestFrames, GuestKind, GuestOutput } from './guest-kind.ts'
import type { GuestLife } from './guest-life.ts'
import type { HandleEnd, WallHandle } from './handle.ts'
import { FrameQueue } from './frame-queue.ts'
import { ProgramSession, type SessionOutput } from './program-session.ts'
import { lifeArmer } from './program-claim.ts'
import { boundsOf, claimFully } from './worker-claim.ts'
import { emitRefusedName } from './refused-name.ts'
import {
  headed,
  kind,
  refusedMax,
  refusedSchema,
  workerAnsweredSchema,
  workerEndSchema,
  workerBytesMax,
} from './wire.ts'

/** Time after a timeout in which the guest may still send its output, before its process is killed. */
const GRACE_MS = 40
/** A job below these limits leaves its worker at its idle size. */
const SMALL_CHARS = 65_536
const SMALL_BYTES = 6 * 2 ** 20
/** Deadline for a worker to drop its guest; then its process is killed. */
const DISPOSE_MS_MAX = 1_000

export interface WorkerOptions extends RealmEgressOptions {
  /** `clears` resolves to whether the worker dropped its guest in time; it gets no job before that. */
  readonly give: (worker: WallHandle, clears?: Promise<boolean>) => void
  /** Settings of this kind of worker, in addition to the task and its limits. */
  readonly settings: Readonly<Record<string, unknown>>
  /** True if the wall has no other guest: then its bounds can be tightened, and it can be frozen. */
  readonly ownsWall?: boolean
  /** Capabilities that the guest holds from the start, and that cannot be revoked. */
  readonly heldCapabilities?: readonly string[]
  /** Controls that it can close while it runs, if they differ from those of its provider. */
  readonly tightens?: readonly Control[]
  /** True if a task may open a session. */
  readonly hasSessions?: boolean
}

/** The capability that leaves WebAssembly in a realm. Its memory is counted by the warden, not by the isolate. */
export const webAssembly = 'webassembly'

/** Settings of an isolate of this profile. */
export function isolateSettings({ controls }: Pick<Profile, 'controls'>) {
  return {
    memoryMiB: Math.max(8, Math.round(controls.memory / 2 ** 20)),
    // Must be named: `any` covers only capabilities that a guest calls.
    webAssembly: controls.capabilities !== 'any' && controls.capabilities.includes(webAssembly),
  }
}

/** Guest that is an isolate in a wall of its own, which ends with its job. */
export function cellGuest(
  profile: Pick<Profile, 'controls'>,
  options: RealmEgressOptions & { readonly tightens: readonly Control[] },
): GuestKind {
  return workerGuest({
    ...options,
    give: (worker) => void worker.kill(),
    settings: isolateSettings(profile),
    ownsWall: true,
  })
}

/** Guest in a jailed worker: a fresh realm or module for one job, whose output comes in frames. */
export function workerGuest(options: WorkerOptions): GuestKind {
  const { tightens, ownsWall = false, heldCapabilities = [], settings, give, hasSessions } = options
  return (life) => {
    const egress = new RealmEgress(life, options)
    const output = new OrderedOutput()
    const cells = { output, cap: artifactCap, onlyCells, isReused: true }
    const session = hasSessions ? new ProgramSession(life, cells) : undefined
    const frames = new WorkerFrames(life, { egress, settings, session, output, ownsWall })
    life.hooks = {
      beforeKill({ status }) {
        // Calls sent between this kill and the end of the worker must not reach a file.
        egress.close()
        return status === 'timeout' ? GRACE_MS : 0
      },
      ended() {
        // Writes in flight must not reach a file whose job was answered.
        egress.close()
        life.egressPath?.close()
      },
    }
    return {
      tightens,
      ownsWall,
      egress: {
        open: (task) => openGuest(life, egress, task),
        tighten: (to) => egress.tighten(to),
      },
      frames,
      ...(session && { session }),
      output: framedOutput,
      calls: { kept: (next) => heldControls(next, life.controls, heldCapabilities) },
      destroy: () => giveBack(life, frames, { give, ownsWall }),
    }
  }
}

const onlyCells = 'an isolate runs cells alone; language "node" has files and commands'

/** Output of an exec, which its guest drops once it is a flood, as that of a job. */
class OrderedOutput implements SessionOutput {
  flooded = () => undefined
  #bytesMax = Infinity
  #bytes = [0, 0]

  get isCut(): boolean {
    return Math.max(...this.#bytes) > this.#bytesMax
  }

  renew(bytesMax: number): void {
    this.#bytesMax = bytesMax
    this.#bytes = [0, 0]
  }

  drained(): Promise<void> {
    return Promise.resolve()
  }

  count({ kind: which, payload }: Frame): void {
    this.#bytes[which === kind.stdout ? 0 : 1]! += payload.length
  }
}

/**
 * Claims the worker again for a session, so that usage counts from its opening: the worker may have run jobs before.
 */
async function openGuest(life: GuestLife, egress: RealmEgress, task: Task): Promise<void> {
  const { wall, warden, profile } = life.parts
  if (task.session && !(await claimFully(wall, warden, boundsOf(profile))))
    throw new MayflyError('UNAVAILABLE', 'Cannot open the session: its worker is spent')
  await egress.open(task)
}

/** Output that comes in frames, which WorkerFrames reads: nothing is buffered here. */
const framedOutput: GuestOutput = { heldBytes: 0, begin: () => undefined }

interface WorkerParts {
  readonly egress: RealmEgress
  readonly settings: WorkerOptions['settings']
  readonly session: ProgramSession | undefined
  readonly output: OrderedOutput
  readonly ownsWall: boolean
}

class WorkerFrames implements GuestFrames {
  readonly #life: GuestLife
  readonly #settings: Readonly<Record<string, unknown>>
  readonly #session: ProgramSession | undefined
  readonly #output: OrderedOutput
  readonly #ownsWall: boolean
  readonly #calls: GuestCalls
  readonly #held: FrameQueue
  readonly #dropped = Promise.withResolvers<void>()
  #isReleased = false
  #isIdle = false
  #refusedNames = 0
  /** True if the end was reported by a job too small to have grown the worker. */
  isSmall = false

  constructor(life: GuestLife, parts: WorkerParts) {
    const { egress, settings, session, output, ownsWall } = parts
    this.#life = life
    this.#ownsWall = ownsWall
    this.#output = output
    this.#settings = settings
    this.#session = session
    this.#held = new FrameQueue(life.parts.wall, (frame) => this.#read(frame))
    this.#calls = new GuestCalls(life, egress)
  }

  /** Resolves when the worker has dropped its guest, or is gone itself. */
  get dropped(): Promise<void> {
    return this.#dropped.promise
  }

  send(task: Task): void {
    const { profile } = this.#life.parts
    const settings = this.#settings
    const text = JSON.stringify({ protocol: 1, ...carried(task, profile), ...settings })
    this.#life.sendTask(text, workerBytesMax)
  }

  receive(frame: Frame): void {
    this.#held.receive(frame)
  }

  lost(end: HandleEnd): void {
    this.#life.finish(this.#life.endOf(end))
    this.#dropped.resolve()
  }

  #read(frame: Frame): void {
    const life = this.#life
    switch (frame.kind) {
      case kind.released:
        return this.#release()
      case kind.stdout:
      case kind.stderr:
        return this.#stream(frame)
      case kind.call:
        return this.#call(frame.payload)
      case kind.end:
        return this.#end(frame.payload)
      case kind.refused:
        return this.#refused(frame.payload)
      case kind.answered:
        if (life.isEnded) return life.garbled('unreadable answer')
        return life.answered(frame.payload, workerAnsweredSchema)
      case kind.execEnd:
        return this.#execEnd(frame)
      case kind.filed:
        if (!this.#life.task?.session) return life.garbled('an answer for a file')
        return void this.#session?.receive(frame)
      case kind.idle:
        return this.#rest()
      default:
        return life.garbled(`unknown frame ${frame.kind}`)
    }
  }

  #release(): void {
    const life = this.#life
    if (this.#isReleased) return life.garbled('a second release')
    this.#isReleased = true
    if (life.isEnded) return
    life.sample(this.#ownsWall ? lifeArmer(life.parts) : undefined)
    life.io?.released()
    if (life.task?.session) this.#session?.begin()
  }

  /** An honest worker drops its guest once, after its end. */
  #rest(): void {
    if (!this.#life.isEnded || this.#isIdle) return this.#life.garbled('a worker that is idle')
    this.#isIdle = true
    this.#dropped.resolve()
  }

  /** Queues later frames until the exec is settled. */
  #execEnd(frame: Frame): void {
    if (!this.#life.task?.session || !this.#session) return this.#life.garbled('an end of no exec')
    if (this.#life.isEnded) return
    this.#calls.renew()
    const settled = Promise.resolve(this.#session.receive(frame))
    this.#held.queueUntil(settled.then(() => new Promise((resolve) => void setImmediate(resolve))))
  }

  #stream(frame: Frame): void {
    const { io, isEnded } = this.#life
    if (isEnded) return
    this.#output.count(frame)
    const { kind: which, payload } = frame
    const took = which === kind.stdout ? io?.stdout(payload) : io?.stderr(payload)
    if (took) this.#held.pauseUntil(took)
  }

  #call(payload: Buffer): void {
    const began = performance.now()
    void this.#calls.answer(payload)
    const pauseMs = this.#held.pauseMsAfter(began)
    if (pauseMs > 0 && !this.#life.isEnded) this.#held.pauseFor(pauseMs)
  }

  /** Reported by the guest's process (untrusted), so the values are from closed lists. */
  #refused(payload: Buffer): void {
    const life = this.#life
    const fields = refusedSchema.safeParse(tryParseJson(payload.toString())).data
    if (!fields || ++this.#refusedNames > refusedMax) return life.garbled('unreadable name')
    if (!life.isEnded) emitRefusedName(life, present(fields))
  }

  #end(payload: Buffer): void {
    const life = this.#life
    const read = headed(workerEndSchema, payload)
    if (!read) return life.garbled('unreadable end')
    const { cpuTimeMs, memory, instructions, error, encoding, status, ran, pending } = read.head
    if (life.task?.session && this.#session)
      return void this.#session.end({
        status: life.statusOf(status),
        isReported: true,
        resultText: 'null',
        encoding,
        artifacts: [],
        ...(error && { error: present(error) }),
      })
    this.isSmall = isSmall(life.task!, payload, memory?.peak)
    if (!this.isSmall) life.parts.wall.memoryBound = undefined
    const isOver = memory !== undefined && memory.used > life.controls.memory
    life.finish({
      ...(isOver
        ? heldTooMuch
        : {
            status: life.statusOf(status),
            resultText: read.rest.toString(),
            ...(error && { error: present(error) }),
          }),
      isReported: true,
      encoding,
      cpuTime: life.cpuTimeOf(cpuTimeMs),
      artifacts: [],
      ...(memory && { memory }),
      ...present({ exitCode: read.head.exitCode }),
      ...countedOf(instructions, life.parts.profile),
      ...(pending && { pending }),
      ...(ran && { ran: ran.map(([start, end, calls]) => ({ start, end, calls })) }),
    })
  }
}

/** V8 lets an isolate hold some mebibytes above its limit, which is the whole of a small one. */
const heldTooMuch = {
  status: 'limit',
  resultText: 'null',
  error: { code: 'MEMORY', message: 'The job used more memory than its limit' },
} as const

/** Undefined without an instruction limit; capped at the limit, which an honest worker does not exceed. */
function countedOf(instructions: number | undefined, { limits }: Profile) {
  if (instructions === undefined || limits.instructions === undefined) return {}
  return { instructions: Math.min(instructions, limits.instructions) }
}

/**
 * Returns the worker to the pool if it dropped its guest in time; kills it otherwise, and after a session. A small job
 * is answered before that: its guest has stopped, its memory is within the idle size, and the pool waits for the
 * worker.
 */
async function giveBack(
  life: GuestLife,
  { dropped, isSmall: isPrompt }: WorkerFrames,
  { give, ownsWall }: Pick<WorkerOptions, 'give' | 'ownsWall'>,
): Promise<Freed> {
  const { wall } = life.parts
  // Before its next job, whose CPU time would count too.
  await life.samples?.settle()
  if (isPrompt && !ownsWall && wall.alive) {
    wall.ref(false)
    give(wall, isCleared(life, dropped))
    return { freedBytes: life.controls.memory, forced: [] }
  }
  if (life.task && (!life.isEnded || life.task.session)) void wall.kill()
  const isClean =
    !life.task || (!life.task.session && (await resolvesWithin(dropped, DISPOSE_MS_MAX)))
  if (!isClean) await wall.kill()
  life.detach()
  give(wall)
  return {
    freedBytes: wall.alive ? life.controls.memory : wall.wall.idleBytes,
    forced: wall.alive ? [] : ['SIGKILL'],
  }
}

/** True if a worker whose job was answered drops its guest in time; emits an event otherwise. */
async function isCleared(life: GuestLife, dropped: Promise<void>): Promise<boolean> {
  const isClear = await resolvesWithin(dropped, DISPOSE_MS_MAX)
  life.detach()
  if (!isClear) {
    const { emitter, provider } = life.parts
    const message = `The worker did not drop its guest in ${DISPOSE_MS_MAX} ms, and was killed`
    emitter.emit('tier/lost', { provider, message }, { run: life.task?.run ?? null })
  }
  return isClear
}

/** Controls that cannot be closed while the guest lives: CPU, memory and held capabilities. */
function heldControls(
  next: Controls,
  before: Controls,
  held: readonly string[],
): Partial<Controls> {
  const { cpu, memory } = before
  if (next.capabilities === 'any' || before.capabilities === 'any') return { cpu, memory }
  const kept = before.capabilities.filter((name) => held.includes(name))
  const capabilities = [...new Set([...next.capabilities, ...kept])].sort()
  return { cpu, memory, capabilities }
}

function carried(task: Task, profile: Profile) {
  const { controls, limits } = profile
  return {
    ...carriedTask(task, profile),
    files: plainFiles(task.files),
    capabilities: [
      ...task.capabilities,
      ...(grantsNetwork(controls.network) ? [fetchCapability] : []),
      ...(grantsFiles(controls.files) ? [filesCapability] : []),
    ],
    ...(task.functions && { functions: task.functions }),
    ...(task.trace && { trace: true }),
    ...(task.session && { session: true }),
    memoryBytes: controls.memory,
    outputBytesMax: limits.output,
    ...(limits.instructions !== undefined && { instructionsMax: limits.instructions }),
  }
}

/** Whether the job was too small to have grown the worker beyond its idle size. */
function isSmall(task: Task, end: Buffer, peakBytes = Infinity): boolean {
  const text = task.code.length + task.inputText.length + end.length
  return text < SMALL_CHARS && task.files.length === 0 && peakBytes < SMALL_BYTES
}
