/**
 * Memory of a machine, and what its job may take of this host's.
 *
 * Problem: a guest has a fixed size, and takes pages of the host as it touches them, for its kernel's file cache as well; a
 * job has a bound of its own, above what was in use while its wall waited. The process that holds it takes memory beside it.
 *
 * Mechanism: a guest is larger than any usual job needs, since what it does not touch costs nothing. Its own kernel holds the job to
 * memory and scratch, where it can (guest/agent/group.c). The bound that no guest can lift is
 * the limit of the hypervisor's cgroup: in use at the claim, plus what the job may have, plus its scratch, plus a fixed
 * allowance for translated code and for files of the image that the guest reads for the first time.
 *
 * Does not handle a job that asks for more than its guest has: the guest's own kernel ends its processes before.
 */
const MIB = 2 ** 20
const STEP_MIB = 256
const SMALLEST_MIB = 1_024
const LARGEST_MIB = 8_192
/** Kernel, runner, interpreter and files of the image. */
const GUEST_MIB = 320
/** By which a job may raise the memory of that process beside what is its own: translated code, cached files of the image. */
export const allowanceBytes = 192 * MIB

/** MiB of the guest for jobs of this bound, in bytes above idle, and this scratch. */
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
