import { subscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import type { ChildProcess } from 'node:child_process'

const ticksPerSecond = 100
/** CPU seconds by absolute path. */
const seconds = new Map<string, number>()

/**
 * Notes the CPU seconds of each test file that this process runs: those of the file's process and of all that were waited
 * for below it, which the kernel adds up at each wait(2). For one file at a time.
 */
export function noteCpuOf(files: readonly string[]): void {
  let before = ofWaitedFor()
  subscribe('child_process', (message) => {
    const { process: child } = message as { readonly process: ChildProcess }
    child.on('exit', () => {
      const file = child.spawnargs.find((word) => files.includes(word))
      const now = ofWaitedFor()
      if (file !== undefined) seconds.set(file, (seconds.get(file) ?? 0) + now - before)
      before = now
    })
  })
}

/** Undefined where it is not known. */
export function cpuSecondsOf(file: string): number | undefined {
  return seconds.get(file)
}

/** User and system time of ended children: fields 16 and 17 of proc_pid_stat(5); 0 without /proc. */
function ofWaitedFor(): number {
  try {
    const fields = readFileSync('/proc/self/stat', 'latin1').split(') ').at(-1)!.split(' ')
    return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond
  } catch {
    return 0
  }
}
