import { readFileSync, readlinkSync } from 'node:fs'
import { programFds } from '../../../jail/whole.ts'
import type { WallResources } from './resources.ts'

/** Flag of a process in exit(2): it has closed its descriptors already. */
const PF_EXITING = 4
const [, , SOCKET] = programFds
/** Field of /proc/PID/stat, counted after the name. */
const FLAGS_FIELD = 6

/**
 * True if a program closed its socket to the server and is still running. Its parent has a copy of the descriptor, so
 * the server gets no EOF. False if /proc may not be read (EACCES).
 */
export function hasClosedSocket(
  { isWhole }: Pick<WallResources, 'isWhole'>,
  program: number,
): boolean {
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
