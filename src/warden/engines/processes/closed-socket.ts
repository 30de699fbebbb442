import { readlinkSync } from 'node:fs'
import { programFds } from '../../../jail/whole.ts'
import { isExiting } from '../../../os/proc.ts'
import type { WallResources } from './resources.ts'

const [, , SOCKET] = programFds

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
    // A process in exit(2) has closed its descriptors already.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && !isExiting(program)
  }
}
