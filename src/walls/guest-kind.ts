import type { Control, Controls } from '../contract/controls.ts'
import type {
  Enforced,
  Receipt,
  SandboxSession,
  Task,
  TaskIo,
  ZoneListener,
} from '../contract/provider.ts'
import type { Frame } from '../lib/frames.ts'
import type { GuestLife } from './guest-life.ts'
import type { HandleEnd } from './handle.ts'
import type { MemoryCopies } from './memory-capture.ts'

/** Makes the parts in which kinds of guests differ; FramedSandbox has the rest. */
export type GuestKind = (life: GuestLife) => GuestParts

export interface GuestParts {
  /** Controls that it can close while it runs, if they differ from those of its provider. */
  readonly tightens: readonly Control[] | undefined
  /** Mechanism of each bound, if that depends on the machine. */
  readonly held?: Readonly<Record<string, string>>
  /** True if the wall has no other guest: then its bounds can be tightened, and it can be frozen. */
  readonly ownsWall: boolean
  readonly egress: GuestEgress
  readonly output: GuestOutput
  readonly frames: GuestFrames
  readonly calls: ClosableCalls
  /** Memory copies, for a wall that can be frozen and read. */
  readonly memory?: MemoryCopies
  readonly zones?: GuestZones
  readonly session?: SandboxSession
  /** Kills the wall, or returns it to the pool. */
  destroy(): Promise<Freed>
}

/** Freed resources, for the receipt. */
export type Freed = Pick<Receipt, 'freedBytes' | 'forced'>

/** Egress paths and folders of a guest; the path in GuestLife is tightened by FramedSandbox. */
export interface GuestEgress {
  /** Opens the granted paths out of the wall. */
  open(task: Task): Promise<void>
  tighten(to: Controls): void
}

/** Output of a guest. */
export interface GuestOutput {
  /** Bytes that this process buffers for it. */
  readonly heldBytes: number
  /** Subscribes; called before the first frame is read. */
  begin(io: TaskIo): void
}

/** Frames of a guest, each read as hostile input. */
export interface GuestFrames {
  send(task: Task): void
  receive(frame: Frame): void
  /** Called if the wall ended without an `end` frame. */
  lost(end: HandleEnd): void
}

/** Controls other than egress and bounds. */
export interface ClosableCalls {
  /** Controls that cannot be closed while the guest lives, and so stay in force. */
  kept(next: Controls): Partial<Controls>
  /** Resolves with the errno of each class when its calls are closed. */
  close?(next: Controls): Promise<ClosedCalls | undefined>
}

export type ClosedCalls = Pick<Enforced, 'answers' | 'trust' | 'killed'>

/** Zones inside of the wall, which the warden makes. */
export interface GuestZones {
  listen(listener: ZoneListener): void
  /** Controls of the zone afterwards. */
  tighten(to: Controls, zone: string): Promise<Controls>
  end(zone: string): Promise<void>
}
