import type { Server } from 'node:net'
import type { EnclosureBounds } from '../../../contract/engine.ts'
import type { Wall } from '../../../contract/warden.ts'
import type { Cgroup } from '../../../os/cgroup-interface.ts'
import type { SpawnedChild } from '../../../os/spawned-child.ts'
import type { ProcessHandles } from '../../../os/process-handles.ts'
import type { ProcessIdentity } from '../../../os/proc.ts'
import type { Slot } from '../../slots.ts'
import type { SentryControl } from './control.ts'
import type { WallFolder } from './place.ts'

/** Resources of a wall on this machine, from its spawn until `releaseOnceGone`. */
export interface RunscResources {
  readonly id: string
  readonly slot: Slot | undefined
  /** `runsc run`, which waits outside and forwards the exit code. */
  readonly child: SpawnedChild
  readonly folder: WallFolder
  readonly cgroup: Cgroup | undefined
  readonly complaint: () => string
  readonly control: SentryControl
  /** `runsc run` first; then the sandbox and the gofer, once runsc has written its state file. */
  processes: readonly ProcessIdentity[]
}

/** The sandbox's process, and the path of the memfd with its program's memory. */
export interface Sentry {
  readonly pid: number
  readonly memoryFile: string
}

/** A wall that is ready, with the state of its job. */
export interface RunscWall {
  readonly wall: Wall
  readonly resources: RunscResources
  readonly sentry: Sentry
  /** Command inside that connects its loopback to the egress path. */
  readonly forwarder: readonly string[]
  /** Bytes of scratch. */
  readonly disk: number
  /** Bytes in use before any job, measured as the job's bound is. */
  idleMemory: number
  /** Tasks of the wall before any job. */
  idleTasks: number
  /** Handles of the processes that it had when it was ready. */
  readonly handles: ProcessHandles
  /** Cgroup limit that was set in advance, and the job memory for which it was computed. */
  preset: { readonly memory: number; readonly groupMax: number } | undefined
  /** Listener of the egress path, until it is passed or closed. */
  egress: Server | undefined
  held: RunscBounds | undefined
  killsAtClaim: number
  /** CPU time in milliseconds before its job, and at the last read before its end. */
  spentBefore: number
  spentSeen: number
}

/** Requested bounds, and the limits derived from them, in bytes. */
export interface RunscBounds extends EnclosureBounds {
  /** CPU limit in cores, if no quota of a cgroup enforces it. */
  readonly throttledTo: number | undefined
  /** Limit of memory, without scratch. */
  readonly usedMax: number
  /** Limit of the cgroup, with scratch; Infinity without one. */
  readonly groupMax: number
}
