import { readdirSync, statSync } from 'node:fs'
import { anonymousBytes } from '../../../os/proc.ts'
import { tryReadLink } from '../../../os/read.ts'
import { cpuMsIn, memoryIn } from '../group-bounds.ts'
import type { RunscResources, Sentry } from './wall.ts'

const BLOCK_BYTES = 512
/** Name that the sentry gives its memory, gvisor `runsc/boot/loader.go`. */
const MEMORY_FILE = '/memfd:runsc-memory (deleted)'

/**
 * Memory of a wall in bytes. Memory of the program is shared memory of the sentry (a memfd), and so are its scratch
 * folders, which were granted as `disk`. A cgroup counts them; without one they are the blocks of that memfd, which the
 * kernel counts and the sentry cannot misreport, and the sentry's heap. Throws if the sentry is gone.
 */
export function memoryOf({ cgroup }: Pick<RunscResources, 'cgroup'>, sentry: Sentry): number {
  if (cgroup) return memoryIn(cgroup)
  return statSync(sentry.memoryFile).blocks * BLOCK_BYTES + anonymousBytes(sentry.pid)
}

/** Finds the sentry's memfd, once per wall: the sentry has hundreds of descriptors. Throws if there is none. */
export function sentryOf(pid: number): Sentry {
  const folder = `/proc/${pid}/fd`
  const fd = readdirSync(folder).find((one) => tryReadLink(`${folder}/${one}`) === MEMORY_FILE)
  if (fd === undefined) throw new Error('the sentry has no memory file')
  return { pid, memoryFile: `${folder}/${fd}` }
}

/** Milliseconds of CPU time of the whole wall, including the sentry. */
export function spentMs({ cgroup, processes }: RunscResources): number {
  return cpuMsIn(cgroup, processes[0]?.pid)
}
