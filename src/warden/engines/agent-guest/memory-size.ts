/**
 * Memory size of a machine, and the host memory that its job may use.
 *
 * Problem: a guest has a fixed size, and allocates host pages as it touches them, also for its page cache. A job has a limit
 * of its own, above the memory in use while its wall was parked. The VMM process needs memory too.
 *
 * Mechanism: a guest is larger than usual jobs need, since untouched pages cost nothing. Its kernel limits the job to memory and
 * scratch by a cgroup, if it has one (guest/agent/group.c). The limit that no guest can lift is the one of the VMM's cgroup on
 * the host: memory in use at the claim, plus the job's memory, plus its scratch, plus a fixed allowance for translated code and
 * for files of the image that the guest reads for the first time.
 *
 * Not handled: a job with a higher limit than its guest has memory. The OOM killer of the guest ends its processes first.
 */
const MIB = 2 ** 20
const STEP_MIB = 256
const SMALLEST_MIB = 1_024
const LARGEST_MIB = 8_192
/** Kernel, runner, interpreter and files of the image. */
const GUEST_MIB = 320
/** Growth of the VMM during a job that is not charged to the job: translated code, cached files of the image. */
export const allowanceBytes = 192 * MIB

/** Guest size in MiB for jobs with this memory limit, in bytes above idle, and this scratch size. */
export function machineMiB({
  disk,
  memory = 256 * MIB,
}: {
  readonly disk: number
  readonly memory?: number | undefined
}): number {
  const needed = GUEST_MIB + (disk + memory) / MIB
  const stepped = Math.ceil(needed / STEP_MIB) * STEP_MIB
  return Math.min(LARGEST_MIB, Math.max(SMALLEST_MIB, stepped))
}
