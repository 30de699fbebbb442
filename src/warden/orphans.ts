import { readFileSync, readdirSync } from 'node:fs'
import { wallUids } from '../jail/facts.ts'
import { isAlive } from '../os/proc.ts'
import { named } from './lease.ts'

/**
 * A launcher that is killed together with its warden may leave a child that waits for a word from it, for ever: it is
 * not yet bound to die with anybody, and no lease names it. So launchers carry their warden in a word of their own, which
 * their children keep until they become the program.
 */
const MARK = /^mayfly-wall:w[0-9a-f]{16}:(\d+):(\d+)$/

/** A word of a wall's launcher. */
export function markOf(wall: string): string {
  const { pid, startTime } = named(process.pid)
  return `mayfly-wall:${wall}:${pid}:${startTime}`
}

/** Ends what launchers of dead wardens of this user left; how many processes that were. Costs a look at each process. */
export function endOrphans(): number {
  const orphans = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && isOrphan(name))
  for (const pid of orphans) end(Number(pid))
  return orphans.length
}

function isOrphan(pid: string): boolean {
  const words = textOf(`/proc/${pid}/cmdline`).split('\0')
  const mark = words.findIndex((word) => MARK.test(word))
  const [, warden, startTime] = MARK.exec(words[mark] ?? '') ?? []
  if (warden === undefined || isAlive(Number(warden), Number(startTime))) return false
  const status = textOf(`/proc/${pid}/status`)
  // Whoever only speaks of one is none.
  if (mark > 0 && fieldsOf(status, 'Name')[0] !== 'bwrap') return false
  if (!isOurs(Number(fieldsOf(status, 'Uid')[0]))) return false
  // In a container wardens have other numbers: there whoever adopts what lost its parent has one of its own as well.
  const [parent] = fieldsOf(status, 'PPid')
  return fieldsOf(textOf(`/proc/${parent}/status`), 'NSpid').length === 1
}

/** Root's walls have uids of their own. */
function isOurs(uid: number): boolean {
  const own = process.getuid?.()
  return uid === own || (own === 0 && uid >= wallUids.first && uid <= wallUids.last)
}

function fieldsOf(status: string, name: string): readonly string[] {
  return new RegExp(`^${name}:\\t(.*)$`, 'm').exec(status)?.[1]?.split('\t') ?? []
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone in between.
  }
}

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
