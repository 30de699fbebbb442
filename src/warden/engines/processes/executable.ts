import { readlinkSync } from 'node:fs'

/** File that a process executes; undefined where /proc may not be read, or once it is gone. */
export function executableOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return undefined
  }
}
