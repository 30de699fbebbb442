/**
 * A cgroup for each wall, in the version of this machine: v1 has a hierarchy for each controller, v2 a single one. Only
 * the memory controller is required; all others are probed, and missing ones are reported.
 */
export interface CgroupRoot {
  readonly version: 1 | 2
  readonly controllers: readonly Controller[]
  /** Moves a process of Mayfly into a group that outweighs all walls, unless it is in a group already. Never throws. */
  raisePriority(pid: number): void
  /** Creates a group. A worker wants memory and pids only: in v1 each controller costs a folder. */
  create(name: string, wanted?: readonly Controller[]): Cgroup
  /** Names of all groups, including those of dead wardens. */
  list(): readonly string[]
  /** Empty groups older than `olderThanMs`: their warden died and its leases were removed. */
  forgotten(olderThanMs: number): readonly string[]
  /** Every process in the group of that name; empty if there is no such group. */
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

export interface TaskCounts {
  readonly now: number
  /** Most since the group was made; 0 before Linux 6.1. */
  readonly peak: number
  /** Forks and threads that `pids.max` refused. */
  readonly refused: number
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
   * Files into which a process writes `0` to enter by itself. In v1 a single-threaded process then does not wait for
   * forks. Its children are members from the start.
   */
  entryFiles(): readonly string[]
  /** True if this process is a member in all of its controllers. */
  holds(pid: number): boolean
  /** Sets its CPU weight until it gets a CPU limit: low for a spare, high if a short job waits for it. */
  weighStart(as: 'spare' | 'urgent'): void
  /** Sets the factor of its CPU weight: 8 (`ahead`), 1 (`job`, `parked`) or 1/50 (`behind`); limits are unchanged. */
  rank(rank: GroupRank): void
  /** Throws if the kernel refused a limit. A limit without its controller is not set: the caller asks `controllers`. */
  limit(to: CgroupLimits): void
  /** Charged bytes without reclaimable page cache. */
  memoryNow(): number
  /** Anonymous memory of its processes, and shared memory with scratch (tmpfs), in bytes. */
  ownMemory(): { readonly own: number; readonly shared: number }
  /** Resets the peak, so that start-up memory is not charged to the job. */
  resetPeakMemory(): void
  /**
   * OOM kills of this group; those of child groups are counted there. The kernel counts them in the victim's group whatever was
   * full: its limit, that of a group around it, or the machine.
   */
  memoryKills(): number
  /**
   * True if its own limit was reached. `memoryKills` is not sufficient: a kill counts in the victim's group, not in the
   * full one. In v1 page cache counts too: a group that has read files as large as its limit has been full for good.
   */
  hasBeenFull(): boolean
  /** Tasks of this group, with those of its child groups; undefined without the pids controller. */
  tasks(): TaskCounts | undefined
  /** CPU time in milliseconds; undefined without a controller that counts it. */
  cpuMs(): number | undefined
  processes(): readonly number[]
  /** Requests a freeze, which is complete once `isFrozen` is true. */
  freeze(): void
  thaw(): void
  isFrozen(): boolean
  /** Lifts the CPU quota and raises the weight, so that killed tasks exit at full speed. */
  liftCpuQuota(): void
  /** Writes of `liftCpuQuota` as `FILE:TEXT`, to be made by another process. */
  quotaLifts(): readonly string[]
  /** Path of `pids.max`; undefined without that controller. */
  pidsFile(): string | undefined
  /** Removes it with its child groups. False while one is busy (EBUSY). */
  remove(): boolean
}

/** OOM kills of a group that reached its own limit; 0 of one that did not, and without a group. */
export function killsAtLimit(
  group: Pick<Cgroup, 'memoryKills' | 'hasBeenFull'> | undefined,
): number {
  const kills = group?.memoryKills() ?? 0
  return kills > 0 && group?.hasBeenFull() ? kills : 0
}
