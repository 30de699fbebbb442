/**
 * Allowance for kernel memory of a wall (page tables, tasks, sockets), which its cgroup counts and the limit of its job
 * does not include.
 */
export const kernelBytesMax = 20 * 2 ** 20

const PAGE_BYTES = 4096

/** Rounds up to whole pages, as the kernel rounds limits of a cgroup. */
export function pageUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES
}
