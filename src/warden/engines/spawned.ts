import type { Socket } from 'node:net'
import { preferForOomKill, setNice } from '../../os/priority.ts'
import { isOutOfDescriptors } from '../../os/read.ts'
import { spawnChild, type SpawnedChild, type SpawnOptions } from '../../os/spawned-child.ts'
import { niceOf } from '../nice.ts'
import { outOfDescriptors } from '../refusals.ts'

export const shell = '/bin/sh'
const ENTER = `trap '' TERM INT HUP; until [ "$1" = -- ]; do echo 0 > "$1" || exit; shift; done; shift; exec "$@"`

/**
 * Arguments of a shell that enters the cgroup first, and then execs the launcher. Launchers ignore SIGTERM, SIGINT and
 * SIGHUP (execve keeps that): systemd's KillMode=control-group sends them SIGTERM too, and the wall would be lost
 * before it drained. Node and guest/process/python.py restore the defaults, so that user code finds none ignored.
 */
export function entering(
  entryFiles: readonly string[],
  command: readonly string[],
): readonly string[] {
  return ['-c', ENTER, 'sh', ...entryFiles, '--', ...command]
}

/**
 * Command prefix that changes to the uid of a wall, if it has one, and sets the parent-death signal afterwards, because the
 * kernel clears it when the uid changes (prctl(2)).
 */
export function asWallUser(setpriv: string, uid: number | undefined): readonly string[] {
  const become = uid === undefined ? [] : [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
  return [setpriv, ...become, '--pdeathsig=KILL', '--']
}

/**
 * Starts a launcher in a session of its own (setsid), so that Ctrl-C, or a signal to the warden's process group, does
 * not reach the wall before it has drained.
 */
export function startChild(
  file: string,
  args: readonly string[],
  options: SpawnOptions,
): SpawnedChild {
  try {
    const child = spawnChild(file, args, options)
    rankSpawned(child)
    return child
  } catch (error) {
    throw isOutOfDescriptors(error) ? outOfDescriptors() : error
  }
}

/** Sets the nice value at once, while the child has one thread: later threads and children inherit it. */
function rankSpawned(child: SpawnedChild): void {
  // 'error' is emitted asynchronously; unhandled, it would crash the warden with every other wall.
  child.on('error', () => undefined)
  if (child.pid === undefined) return
  setNice(child.pid, niceOf.wall)
  preferForOomKill(child.pid)
}

/** Writes the seccomp filter of a launcher. EPIPE is ignored: the launcher ended before reading it, and its end is reported elsewhere. */
export function feedFilter(child: SpawnedChild, fd: number, filter: Buffer): void {
  const pipe = (child.stdio as unknown as Socket[])[fd]!
  pipe.on('error', () => undefined)
  pipe.end(filter)
}
