import { closeOnExecFrom } from '../os/libc.js'

const FIRST_INHERITED = 3

/**
 * Leaves no descriptor of this process to a child that outlives it. Node marks what it inherited only up to the first gap
 * above descriptor 15; flock(1) is used with 200, and a shell's `>(…)` has 63, whose reader would wait for as long as the
 * child stays. False before Linux 5.11.
 */
export function inheritNothing(): boolean {
  try {
    closeOnExecFrom(FIRST_INHERITED)
    return true
  } catch {
    return false
  }
}
