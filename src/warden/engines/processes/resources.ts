import type { Cgroup } from '../../../os/cgroup-interface.ts'
import type { SpawnedChild } from '../../../os/spawned-child.ts'
import type { ProcessIdentity } from '../../../os/proc.ts'
import type { Sentinel } from './sentinel.ts'
import type { Slot } from '../../slots.ts'

/** Resources of a wall on this machine, from its spawn until `releaseResources`. */
export interface WallResources {
  readonly id: string
  readonly slot: Slot | undefined
  /** Uid on this machine where it is none of Mayfly's, but of a range of subordinate uids. */
  readonly uidOutside?: number
  readonly child: SpawnedChild
  /** Runs whole programs, which may fork; a worker may not. */
  readonly isWhole: boolean
  /** Namespaces of the template that forked it; undefined where it was started by an exec. */
  readonly forkedFrom: readonly string[] | undefined
  /** Tail of stderr, for V8's message when it aborts. */
  readonly complaint: () => string
  /** Scratch folder on the host, where it could have no root of its own. */
  readonly scratch: string | undefined
  /** Answers the system calls that depend on its phase. */
  readonly sentinel: Sentinel | undefined
  /** Error of a start that failed half-way: the resources exist and have to be released. */
  readonly broken: unknown
  /** Hard limit that all of its processes carry, where a keeper holds them together and no namespace does. */
  readonly mark: number | undefined
  cgroup: Cgroup | undefined
  /** The init of the pid namespace before the program; the outermost last. */
  processes: readonly ProcessIdentity[]
  /** Copy of the socket that listens inside, until it is handed over or closed. */
  listenerFd: number | undefined
  /** Processes and threads before any job. */
  idleTasks: number
  /** Processes alone. */
  idleProcesses: number
  /** Anonymous bytes before any job, as its cgroup counts them; without one with shared memory, as its processes say. */
  idleMemory: number
  isFrozen: boolean
  /** A bound on tasks was set while it waited. */
  isPreset: boolean
  /** Fork and clone are closed for good; later bounds on processes are ignored. */
  forbidsFork: boolean
  /** Resolves when no process of the wall can fork any more; undefined while it may. */
  forkClosed: Promise<void> | undefined
}
