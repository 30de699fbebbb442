/**
 * A cgroup for each wall, in the version that this machine has: v1 keeps a tree for each controller, v2 a single one.
 * Only the memory controller is required; each other one is probed, and a missing one is reported.
 */
export interface CgroupRoot {
  readonly version: 1 | 2
  readonly controllers: readonly Controller[]
  /** Moves a process of Mayfly into a group that outweighs all walls, unless it is in a group already. Never throws. */
  raisePriority(pid: number): void
  /** Creates a group. A worker wants memory and pids only: in v1 each controller costs a folder. */
  create(name: string, wanted?: readonly Controller[]): Cgroup
  /** Names of all groups, of dead wardens too. */
  list(): readonly string[]
  /** Empty groups older than `olderThanMs`: their warden died and its leases were removed. */
  forgotten(olderThanMs: number): readonly string[]
  /** Every process in a group of that name; none where there is none. */
  processes(name: string): readonly number[]
  /** Removes a group. False while a dying process keeps it busy (EBUSY). */
  remove(name: string): boolean
}

export const controllers = ['memory', 'pids', 'cpu', 'cpuacct', 'freezer', 'io'] as const

export type Controller = (typeof controllers)[number]

/** Limits of a group, each read back after writing. */
export interface CgroupLimits {
  /** Bytes. */
  readonly memory?: number
  /** Processes and threads. */
  readonly pids?: number
  /** Cores; Infinity lifts the quota. */
  readonly cpu?: number
  /** Bytes a second, read and written, of each device named `major:minor`. */
  readonly io?: { readonly bytes: number; readonly devices: readonly string[] }
}

/** CPU weight class of a group; all but a parked one have a job. */
export type GroupRank = 'ahead' | 'job' | 'behind' | 'parked'

export interface Cgroup {
  readonly name: string
  readonly controllers: readonly Controller[]
  /**
   * Child group with limits of its own. Members count as members of this group too: in its list, its freezer, its quota
   * and its removal.
   */
  below(name: string): Cgroup
  /**
   * Moves a process with all its threads; earlier usage stays charged to the old group. The kernel takes
   * cgroup_threadgroup_rwsem for this and waits for every fork on the machine: 10 ms, and 100 ms under a fork load of
   * throttled tasks.
   */
  add(pid: number): void
  /**
   * Files into which a process writes `0` to enter by itself. In version 1 a process with a single thread does not wait
   * for forks then. Its children are members from the start.
   */
  entryFiles(): readonly string[]
  /** Whether all of its controllers hold this process. */
  holds(pid: number): boolean
  /** Sets its CPU weight until it gets a CPU limit: low where no caller waits for it, high where a short job does. */
  weighStart(as: 'spare' | 'urgent'): void
  /** Gives it eight times the weight of its CPU limit, a fiftieth, or all of that again; limits stay as they are. */
  rank(rank: GroupRank): void
  /** Throws if the kernel refused a limit, or if its controller is missing. */
  limit(to: CgroupLimits): void
  /** Charged bytes without reclaimable page cache. */
  memoryNow(): number
  /** Anonymous memory of its processes, and shared memory with scratch (tmpfs), in bytes. */
  ownMemory(): { readonly own: number; readonly shared: number }
  /** Resets the peak, so that start-up memory is not charged to the job. */
  resetPeakMemory(): void
  /** OOM kills; those in child groups count there. */
  memoryKills(): number
  /** Whether its own limit was reached. `memoryKills` does not tell: a kill counts in the victim's group, not in the full one. */
  hasBeenFull(): boolean
  /** CPU time in milliseconds; undefined without a controller that counts it. */
  cpuMs(): number | undefined
  processes(): readonly number[]
  /** Requests a freeze; it holds once `isFrozen` is true. */
  freeze(): void
  thaw(): void
  isFrozen(): boolean
  /** Lifts the CPU quota and raises the weight, so that killed tasks exit at full speed. */
  liftCpuQuota(): void
  /** Writes of `liftCpuQuota` as `FILE:TEXT`, for another process to make. */
  quotaLifts(): readonly string[]
  /** Path of `pids.max`; undefined without that controller. */
  pidsFile(): string | undefined
  /** Removes it with its child groups. False while one is busy. */
  remove(): boolean
}
