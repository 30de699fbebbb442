import { readFileSync, readlinkSync } from 'node:fs'
import { keptFds } from '../jail/whole.ts'
import type { Taken } from './taken.ts'

/** A process that ends has closed what it had, and is not there to answer for it. */
const PF_EXITING = 4
const [, , SOCKET] = keptFds
/** Of /proc/PID/stat after the name. */
const FLAGS_FIELD = 6

/**
 * Whether a program has closed its socket to the server and goes on. Whoever started it has a copy, so that nobody
 * hears it close. What may not be looked into is not.
 */
export function isMute({ isWhole }: Pick<Taken, 'isWhole'>, program: number): boolean {
  if (!isWhole) return false
  try {
    readlinkSync(`/proc/${program}/fd/${SOCKET}`)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && goesOn(program)
  }
}

function goesOn(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const isEnding = (Number(fields[FLAGS_FIELD]) & PF_EXITING) !== 0
    return !isEnding && fields[0] !== 'Z' && fields[0] !== 'X'
  } catch {
    return false
  }
}
