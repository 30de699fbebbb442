import type { Control, Controls } from '../contract/controls.ts'
import type { Receipt, Task, TaskIo, ZoneListener } from '../contract/provider.ts'
import type { Frame } from '../lib/frames.ts'
import type { GuestLife } from './guest-life.ts'
import type { HandleEnd } from './handle.ts'
import type { MemoryCopies } from './memory-capture.ts'

/** Makes the parts of one life in which kinds of guests differ; everything else is FramedSandbox. */
export type GuestKind = (life: GuestLife) => GuestParts

export interface GuestParts {
  /** Controls that it can close while it runs, where that differs from its provider's others. */
  readonly tightens: readonly Control[] | undefined
  /** Mechanism that holds each bound, where that depends on the machine. */
  readonly held?: Readonly<Record<string, string>>
  /** The wall is this guest's alone: its bounds can be lowered, and it can be frozen. */
  readonly ownsWall: boolean
  readonly egress: GuestEgress
  readonly output: GuestOutput
  readonly frames: GuestFrames
  readonly calls: ClosableCalls
  /** Copies of its memory, of a wall that can be looked into and held for that. */
  readonly memory?: MemoryCopies
  readonly zones?: GuestZones
  /** Kills or gives back the wall. */
  destroy(): Promise<Freed>
}

/** Freed resources, for the receipt. */
export type Freed = Pick<Receipt, 'freedBytes' | 'forced'>

/** Egress paths and folders of a guest; the path in GuestLife is tightened by FramedSandbox. */
export interface GuestEgress {
  /** Opens what leaves the wall, as far as it was granted. */
  open(task: Task): Promise<void>
  tighten(to: Controls): void
}

/** Output of a guest. */
export interface GuestOutput {
  /** Bytes that this process holds for it. */
  readonly heldBytes: number
  /** Subscribes, before the first frame is read. */
  begin(io: TaskIo): void
}

/** Frames of a guest, each read as hostile input. */
export interface GuestFrames {
  send(task: Task): void
  hear(frame: Frame): void
  /** The wall ended without an `end` frame. */
  lost(end: HandleEnd): void
}

/** Controls other than egress and bounds. */
export interface ClosableCalls {
  /** Controls that stay as they were: nothing can close them while the guest lives. */
  kept(next: Controls): Partial<Controls>
  /** Resolves when they are closed, with the errno of each class. */
  close?(next: Controls): Promise<Readonly<Record<string, string>> | undefined>
}

/** Zones inside of the wall, which the warden makes. */
export interface GuestZones {
  listen(listener: ZoneListener): void
  /** Controls of the zone afterwards. */
  tighten(to: Controls, zone: string): Promise<Controls>
  end(zone: string): Promise<void>
}
