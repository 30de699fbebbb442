import { closeOnExecFrom } from '../os/libc.js'

const FIRST_INHERITED = 3

/**
 * Sets close-on-exec on all inherited descriptors, so that a child that outlives this process gets none. Node does so
 * only up to the first gap above descriptor 15; flock(1) is used with 200, and a shell's `>(…)` has 63, whose reader
 * would get no EOF while the child lives. False before Linux 5.11.
 */
export function inheritNothing(): boolean {
  try {
    closeOnExecFrom(FIRST_INHERITED)
    return true
  } catch {
    return false
  }
}
