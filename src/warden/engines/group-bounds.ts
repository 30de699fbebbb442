import type { BoundMechanisms } from '../../contract/warden.ts'
import { attempt } from '../../lib/attempt.ts'
import type { Cgroup, TaskCounts } from '../../os/cgroup-interface.ts'
import { belowOf, cpuMsOf } from '../../os/process-tree.ts'

/** Limits by the cgroup of a wall, its memory and CPU time; shared by the engines. */

/**
 * Allowance for kernel memory of a wall (page tables, tasks, sockets), which its cgroup counts and the limit of its job
 * does not include.
 */
export const kernelBytesMax = 20 * 2 ** 20

const PAGE_BYTES = 4096

/** Mechanisms of a wall that is spent before its claim. */
export const noBound: BoundMechanisms = {
  memory: 'watch',
  processes: 'none',
  cpu: 'none',
  io: 'none',
}

/** Rounds up to whole pages, as the kernel rounds limits of a cgroup. */
export function pageUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES
}

/** Memory of a cgroup in bytes: anonymous and shared. */
export function memoryIn(cgroup: Cgroup): number {
  const { own, shared } = cgroup.ownMemory()
  return own + shared
}

/**
 * Milliseconds of CPU time of all processes ever in a cgroup; without one, or if it was removed, of the process `first`, those
 * below it and those that they reaped.
 */
export function cpuMsIn(cgroup: Cgroup | undefined, first: number | undefined): number {
  const inGroup = attempt(() => cgroup?.cpuMs())
  if (inGroup !== undefined || first === undefined) return inGroup ?? 0
  return cpuMsOf([first, ...belowOf(first)])
}

/** Sets the CPU limit by a quota where the cgroup has one; without a limit that lifts the low weight of a spare. */
export function bindCpu(
  cgroup: Cgroup | undefined,
  cpu: number | undefined,
): BoundMechanisms['cpu'] {
  const hasQuota = cgroup?.controllers.includes('cpu') === true
  if (hasQuota) cgroup.limit({ cpu: cpu ?? Infinity })
  if (cpu === undefined) return 'none'
  return hasQuota ? 'cgroup' : 'watch'
}

/** Cores to which a wall is throttled by pauses; undefined if a CFS quota limits it, or there is no limit. */
export function throttledTo(
  cgroup: Cgroup | undefined,
  cpu: number | undefined,
): number | undefined {
  return cgroup?.controllers.includes('cpu') ? undefined : cpu
}

interface PresetWall {
  readonly resources: { readonly cgroup: Cgroup | undefined }
  /** Bytes of scratch. */
  readonly disk: number
  /** Cgroup limit that was set in advance, and the job memory for which it was computed. */
  preset: { readonly memory: number; readonly groupMax: number } | undefined
}

/**
 * Limit of the cgroup for a job; Infinity without one. `more`: bytes by which its processes may grow, without scratch,
 * which is memory too (tmpfs). A wall with this limit as its preset keeps it: no code ran in it since.
 */
export function groupMaxOf(
  { resources: { cgroup }, disk, preset }: PresetWall,
  memory: number,
  more: number,
  kernelBytes = kernelBytesMax,
): number {
  if (!cgroup) return Infinity
  if (preset?.memory === memory) return preset.groupMax
  return pageUp(cgroup.memoryNow() + more + disk + kernelBytes)
}

/**
 * Sets the usual bounds in advance, while the wall waits, so that most claims find them in force. A claim sets
 * different ones again, and reads each back; a failure here is ignored, because the claim would report it.
 */
export function presetGroup(wall: PresetWall, memory: number, bindOthers: () => void): void {
  const { cgroup } = wall.resources
  if (!cgroup) return
  const groupMax = groupMaxOf(wall, memory, memory)
  try {
    cgroup.limit({ memory: groupMax })
    bindOthers()
    wall.preset = { memory, groupMax }
  } catch {
    wall.preset = undefined
  }
}

/**
 * True if the bound on tasks of a cgroup refused a fork since `before` (EAGAIN in the guest). RLIMIT_NPROC refuses before the cgroup, which then counts no
 * refusal: its peak is at the bound.
 */
export function hasRefusedTasks(
  seen: TaskCounts,
  before: { readonly tasksPeak: number; readonly tasksRefused: number },
  bound: number,
): boolean {
  const isReached = seen.now >= bound || (seen.peak >= bound && seen.peak > before.tasksPeak)
  return isReached || seen.refused > before.tasksRefused
}
