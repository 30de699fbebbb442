import type { Cgroup } from '../../../os/cgroup-interface.ts'
import type { SpawnedChild } from '../../../os/spawned-child.ts'
import type { ProcessIdentity } from '../../../os/proc.ts'
import type { Sentinel } from './sentinel.ts'
import type { ScratchSpace } from './scratch-space.ts'
import type { Slot } from '../../slots.ts'

/** Resources of a wall on this machine, from its spawn until `releaseResources`. */
export interface WallResources {
  readonly id: string
  readonly slot: Slot | undefined
  /** Host uid from a range of subordinate uids, if the wall has none of Mayfly's slots. */
  readonly uidOutside?: number
  readonly child: SpawnedChild
  /** True for whole programs, which may fork; false for a worker. */
  readonly isWhole: boolean
  /** Namespaces of the template that forked it; undefined if it was started by an exec. */
  readonly forkedFrom: readonly string[] | undefined
  /** Tail of stderr, for V8's message when it aborts. */
  readonly complaint: () => string
  /** Scratch folder on the host, for a wall without a root of its own. */
  readonly scratch: string | undefined
  /** Sentinel that answers the system calls that depend on its phase. */
  readonly sentinel: Sentinel | undefined
  /** Error of a start that failed half-way: the resources exist and have to be released. */
  readonly broken: unknown
  /** Resource limit that marks all of its processes, for a wall with a keeper and without namespaces. */
  readonly mark: number | undefined
  cgroup: Cgroup | undefined
  /** The init of the pid namespace before the program; the outermost last. */
  processes: readonly ProcessIdentity[]
  /** Copy of the listener inside, until it is passed or closed. */
  listenerFd: number | undefined
  /** Scratch folders, if they are a tmpfs of its own and may be read; open until the release. */
  space: ScratchSpace | undefined
  /** Processes and threads before any job. */
  idleTasks: number
  /** Processes before any job. */
  idleProcesses: number
  /** Bytes before any job: anonymous memory by its cgroup; without one, of its processes with shared memory. */
  idleMemory: number
  isFrozen: boolean
  /** True if a bound on tasks was set in advance. */
  isPreset: boolean
  /** True if fork and clone are closed irrevocably; later bounds on processes are ignored. */
  forbidsFork: boolean
  /** Resolves when no process of the wall can fork any more; undefined while it may. */
  forkClosed: Promise<void> | undefined
}

/** Fields of a wall that was just forked, before it is measured and bounded. */
export const justForked = {
  listenerFd: undefined,
  space: undefined,
  idleTasks: 0,
  idleProcesses: 1,
  idleMemory: 0,
  isFrozen: false,
  isPreset: false,
  forbidsFork: false,
  forkClosed: undefined,
} satisfies Partial<WallResources>
