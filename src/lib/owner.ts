import { readFileSync } from 'node:fs'

/** A process, told apart from any later one with its number. */
export interface Owner {
  readonly bootId: string
  readonly pid: number
  /** Clock ticks from boot to its start; empty where the system does not say. */
  readonly startTime: string
}

/** This process. */
export function thisOwner(): Owner {
  return { bootId: bootId(), pid: process.pid, startTime: readStat(process.pid)?.startTime ?? '' }
}

/**
 * Whether the process still lives. Where only its number can be asked for, a process that took the number counts
 * as the owner: a line left open too long is better than one closed while its job runs.
 */
export function isAlive(owner: Owner): boolean {
  const boot = bootId()
  if (boot !== '' && owner.bootId !== boot) return false
  const stat = readStat(owner.pid)
  if (!stat) return answers(owner.pid)
  return !stat.ended && (owner.startTime === '' || stat.startTime === owner.startTime)
}

function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

/** Counted after the name, which may hold anything; the start is field 22. A zombie has ended. */
function readStat(pid: number): { startTime: string; ended: boolean } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { startTime: fields[19] ?? '', ended: fields[0] === 'Z' || fields[0] === 'X' }
  } catch {
    return undefined
  }
}

/** Also where /proc hides other users' processes. */
function answers(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM'
  }
}
