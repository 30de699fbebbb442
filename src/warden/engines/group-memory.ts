/** Kernel memory of a wall (page tables, tasks, sockets), which its cgroup counts and the limit of its job does not. */
export const kernelBytesMax = 20 * 2 ** 20

const PAGE_BYTES = 4096

/** Bytes of whole pages, as a cgroup keeps a limit. */
export function pageUp(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES
}
