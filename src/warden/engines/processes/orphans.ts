import { isWallUid } from '../../../contract/uids.ts'
import { allPids, identify, isExiting, uidsOf, statusField } from '../../../os/proc.ts'
import { tryReadText } from '../../../os/read.ts'
import { signalAll } from '../../../os/signal.ts'

/**
 * Orphans of killed launchers. A launcher that dies with its warden may leak a child that blocks on a pipe for ever:
 * the child has no parent-death signal yet, and no lease. So a launcher has its warden's pid and start time in argv,
 * which forked children keep until they exec the program.
 */
const MARK = /^mayfly-wall:w[0-9a-f]{16}:(\d+):(\d+)$/

/** Argument that marks a wall's launcher. */
export function launcherMarkOf(wall: string): string {
  const { pid, startTime } = identify(process.pid)
  return `mayfly-wall:${wall}:${pid}:${startTime}`
}

/** Kills orphans of dead wardens of this user; returns how many. Reads /proc of every process. */
export function endOrphans(): number {
  const orphans = allPids().filter(isOrphan)
  signalAll(orphans, 'SIGKILL')
  return orphans.length
}

function isOrphan(pid: number): boolean {
  const words = (tryReadText(`/proc/${pid}/cmdline`) ?? '').split('\0')
  const mark = words.findIndex((word) => MARK.test(word))
  const [, warden, startTime] = MARK.exec(words[mark] ?? '') ?? []
  if (warden === undefined || !isExiting(Number(warden), Number(startTime))) return false
  // Any process may have such an argument; only bwrap is a launcher.
  if (mark > 0 && statusField(pid, 'Name')[0] !== 'bwrap') return false
  if (!isOurs(uidsOf(pid)[0])) return false
  // Pids differ in a container: an orphan whose new parent has a PID namespace of its own belongs to a warden in there.
  const [parent] = statusField(pid, 'PPid')
  return statusField(Number(parent), 'NSpid').length === 1
}

/** Root's walls have uids of their own. */
function isOurs(uid = -1): boolean {
  const own = process.getuid?.()
  return uid === own || (own === 0 && isWallUid(uid))
}
