import { controlsBeyond, meet, type Control, type Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import { sessionFileBytesMax } from '../contract/exec.ts'
import type { Sink } from '../contract/event.ts'
import type {
  Capture,
  Enforced,
  KillCause,
  Receipt,
  Sandbox,
  SandboxSession,
  Task,
  TaskEnd,
  TaskIo,
  ZoneListener,
} from '../contract/provider.ts'
import type { Profile } from '../contract/profile.ts'
import { wallAnswerMsMax } from '../contract/wall-answer.ts'
import type { GuestKind, GuestParts } from './guest-kind.ts'
import { GuestLife, type SandboxParts } from './guest-life.ts'
import { tightenBounds } from './tighten.ts'
import { uncapturable } from './memory-capture.ts'
import { PauseState } from './pause.ts'
import { hasSentinel } from './sentinel-calls.ts'
import { callArgsBytesMax, frameHeadBytesMax } from './wire.ts'

/**
 * The server's end of one life behind a wall that sends frames, for every kind of wall and of guest.
 *
 * Problem: task, tightening, freeze, capture, kill and destruction have to be the same on every tier, but guests differ:
 * output in frames or on sockets, egress by call or by a listener, zones, memory that can be copied.
 *
 * Mechanism: GuestLife has the state of the life, this class all operations on it. A kind of guest injects the parts that
 * differ (`worker-guest.ts`, `program-guest.ts`). If it omits a part, the sandbox lacks the method or rejects. A wall of
 * another mechanism (a sentry, a VM) uses one of these kinds.
 *
 * Relies on: the frames of `wire.ts`, each read as hostile input. A guest that sends what its runner never sends is
 * killed, and its job ends PROTOCOL.
 *
 * Not handled: a second task. A sandbox is used once; one task may be a session, whose execs are its guest's.
 */
export class FramedSandbox implements Sandbox {
  readonly id: string
  readonly provider: string
  readonly image: string
  readonly pool: 'hit' | 'miss'
  readonly tightens: readonly Control[] | undefined
  readonly held: Readonly<Record<string, string>>
  readonly hold?: () => Promise<void>
  readonly listen?: (listener: ZoneListener) => void
  readonly endZone?: (zone: string) => Promise<void>
  readonly session: SandboxSession | undefined
  receipt: Receipt | undefined
  readonly #life: GuestLife
  readonly #guest: GuestParts
  readonly #pause: PauseState | undefined
  /** Last tightening of the whole wall. */
  #tightening: Promise<unknown> = Promise.resolve()
  #disposing: Promise<void> | undefined

  constructor(id: string, parts: SandboxParts, kind: GuestKind) {
    this.id = id
    this.provider = parts.provider
    this.image = parts.profile.image
    this.pool = parts.pool
    this.#life = new GuestLife(parts)
    this.#guest = kind(this.#life)
    const { tightens, held, ownsWall, memory, zones, session } = this.#guest
    this.tightens = tightens
    this.session = session
    const { layers } = parts.wall.wall
    this.held = { ...held, layers: layers.join(', ') }
    if (ownsWall) this.#pause = pauseOf(this.#life)
    if (memory && this.#pause) this.hold = holdOf(this.#life, this.#pause)
    if (!zones) return
    this.listen = (listener) => zones.listen(listener)
    this.endZone = (zone) => zones.end(zone)
  }

  get wall(): string {
    return this.#life.wall
  }

  get heldBytes(): number {
    return this.#guest.output.heldBytes
  }

  async run(task: Task, io: TaskIo): Promise<TaskEnd> {
    const life = this.#life
    if (life.task || life.isDisposing)
      throw new MayflyError('CONFLICT', 'Cannot run a second task: a sandbox is used once')
    const { egress, output, frames } = this.#guest
    const { wall } = life.parts
    life.begin(task, io)
    await egress.open(task)
    wall.ref(true)
    wall.boundFrames(frameBytesMax(task, life.parts.profile))
    output.begin(io)
    wall.listen({ frame: (frame) => frames.receive(frame), ended: (end) => frames.lost(end) })
    if (!life.isEnded) frames.send(task)
    return life.end.promise
  }

  /** Tightens the wall or one zone. A zone has bounds of its own; its other controls are those of the whole wall. */
  async tighten(to: Controls, zone?: string): Promise<Enforced> {
    const { zones } = this.#guest
    const began = performance.now()
    if (zone === undefined || !zones) {
      const tightening = this.#tightenWhole(to, began)
      this.#tightening = tightening.catch(() => undefined)
      return await tightening
    }
    // A tightening of the whole wall requested in the same turn goes first.
    await Promise.resolve()
    await this.#tightening
    const controls = await zones.tighten(to, zone)
    const unenforced = controlsBeyond(controls, to)
    return { controls, took: performance.now() - began, unenforced }
  }

  async #tightenWhole(to: Controls, began: number): Promise<Enforced> {
    const life = this.#life
    const { egress, calls, ownsWall } = this.#guest
    const { asked, next } = life.want(to)
    // Egress first: it is closed in this process and takes no time.
    life.egressPath?.tighten(next)
    egress.tighten(next)
    const kept = calls.kept(next)
    const close = async () => {
      const closed = calls.close && (await calls.close(next))
      // The amounts of this order alone: it must not fail or wait by those of another one, which may be late or refused.
      const { memory, cpu, processes, io } = asked
      // A guest that shares its wall keeps the bounds that nothing lowers for it alone.
      const tightened = ownsWall
        ? { ...kept, ...(await tightenBounds(life.parts.warden, life.wall, life.controls, asked)) }
        : { memory, cpu, processes, io, ...kept }
      return { closed, tightened }
    }
    const { closed, tightened } = await close().catch((thrown: unknown) => {
      life.forgetAmounts()
      return this.#ifOver(thrown)
    })
    life.controls = meet(life.controls, { ...next, ...tightened })
    // An order that was refused meanwhile has forgotten the amounts of this one.
    life.wanted = meet(life.wanted, life.controls)
    const unenforced = controlsBeyond(life.controls, asked)
    const took = performance.now() - began
    return { controls: life.controls, took, unenforced, ...closed }
  }

  /**
   * Race: a wall without processes has nothing left open, so its end decides and not an order that came too late. Throws any
   * other error again.
   */
  #ifOver(thrown: unknown): { readonly closed?: undefined; readonly tightened?: undefined } {
    const isUnknown = thrown instanceof MayflyError && thrown.code === 'NOT_FOUND'
    if (isUnknown || !this.#life.parts.wall.alive) return {}
    throw thrown
  }

  /** CPU time of a zone; without zones inside the wall, that of the whole wall. */
  cpuTime(zone?: string): number | undefined {
    if (zone !== undefined && this.#guest.zones) return undefined
    return this.#life.samples?.cpuMs ?? 0
  }

  async freeze(): Promise<void> {
    await this.#pausing.freeze()
  }

  async thaw(): Promise<void> {
    await this.#pausing.thaw()
  }

  get #pausing(): PauseState {
    if (this.#pause) return this.#pause
    const message = `Cannot freeze a guest of "${this.provider}": its wall does not support it`
    throw new MayflyError('UNAVAILABLE', message)
  }

  /** Events of a guest's calls; system calls are reported by the sentinel, connections by the egress path. */
  watch(sink: Sink): void {
    this.#life.sink = sink
  }

  /** Copies its memory while it is frozen. Rejects with MayflyError UNAVAILABLE if the copy fails. */
  async capture(): Promise<Capture> {
    const { memory } = this.#guest
    const { wall, warden } = this.#life.parts
    if (!memory) return { kind: 'none', parts: [] }
    if (!hasSentinel(wall.wall) && !wall.wall.isImaged) return uncapturable(wall.wall)
    return await this.#pausing.during(() =>
      memory.copy(
        () => warden.memory(this.wall),
        (bytes) => warden.capture(this.wall, bytes),
      ),
    )
  }

  kill(cause: KillCause): void {
    this.#life.kill(cause)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#life.isDisposing = true
    this.#disposing ??= this.#dispose()
    return this.#disposing
  }

  async #dispose(): Promise<void> {
    const began = performance.now()
    const freed = await this.#guest.destroy()
    this.#guest.memory?.close()
    const cpuTime = this.#life.cpuTimeAtLast
    this.receipt = { id: this.id, took: performance.now() - began, ...freed, cpuTime }
  }
}

/** Largest frame of a task: its result, an artifact, the arguments of a call, or a file of its session, with their head. */
function frameBytesMax({ session }: Task, { limits }: Profile): number {
  const file = session ? sessionFileBytesMax : 0
  return frameHeadBytesMax + Math.max(limits.result, limits.artifacts, callArgsBytesMax, file)
}

function pauseOf(life: GuestLife): PauseState {
  const { warden } = life.parts
  return new PauseState({
    stop: (isHold) => warden.freeze(life.wall, isHold ? HOLD_MS : undefined),
    resume: async () => life.isEnded || warden.thaw(life.wall),
  })
}

/** Time for a freeze at the end, from its request on: beyond the caller's own limit, which fires first. */
const HOLD_MS = 2 * wallAnswerMsMax

/** Freezes irrevocably. A frozen wall has no deadline, so the caller must kill it. */
function holdOf(life: GuestLife, pause: PauseState): () => Promise<void> {
  return async () => {
    // Bytes that it sent earlier are still in socket buffers, and would be forwarded.
    life.egressPath?.close()
    await pause.hold()
    life.usedBefore = await life.parts.warden.release(life.wall)
  }
}
