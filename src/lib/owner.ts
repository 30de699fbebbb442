import { readFileSync } from 'node:fs'
import { attempt } from './attempt.ts'

/** Identity of a process that survives pid reuse. */
export interface Owner {
  readonly bootId: string
  readonly pid: number
  /** Start time in clock ticks since boot; empty if the system does not report it. */
  readonly startTime: string
}

/** Owner that stands for this process. */
export function thisOwner(): Owner {
  return { bootId: bootId(), pid: process.pid, startTime: readStat(process.pid)?.startTime ?? '' }
}

/** Owner that stands for another process; undefined if there is none, or if the system does not say. */
export function ownerOf(pid: number): Owner | undefined {
  const stat = readStat(pid)
  return stat && { bootId: bootId(), pid, startTime: stat.startTime }
}

/**
 * True if the process is alive. If only its pid is available, a process that reused it counts as the owner: a
 * line left open too long is better than one closed while its job runs.
 */
export function isOwnerAlive(owner: Owner): boolean {
  const boot = bootId()
  if (boot !== '' && owner.bootId !== boot) return false
  const stat = readStat(owner.pid)
  if (!stat) return answersSignal(owner.pid)
  return !stat.ended && (owner.startTime === '' || stat.startTime === owner.startTime)
}

/** Boot id of the machine; empty where the system does not say. */
export function bootId(): string {
  return attempt(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()) ?? ''
}

/**
 * Fields counted after the name, which may contain anything; the start time is field 22. A zombie counts as
 * ended.
 */
function readStat(pid: number): { startTime: string; ended: boolean } | undefined {
  const stat = attempt(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  if (stat === undefined) return undefined
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { startTime: fields[19] ?? '', ended: fields[0] === 'Z' || fields[0] === 'X' }
}

/** True if a process has this pid; also where /proc hides other users' processes (hidepid), or is missing. */
export function answersSignal(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM'
  }
}
