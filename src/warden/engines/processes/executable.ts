import { readlinkSync } from 'node:fs'

/** File that a process executes; undefined if /proc may not be read, or if the process is gone. */
export function executableOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return undefined
  }
}
