import { processFacts, threadsOf } from './proc.ts'
import { readText } from './read.ts'

/** The processes of one wall, as the kernel tells them from outside. */

/** Above every limit on processes that is set. Processes beyond it are not listed, but die with the init of the namespace. */
const PROCESSES_MAX = 4096

/**
 * All descendants of a process, nearest first. No process is a subreaper: an orphan goes to the init of its PID namespace,
 * and is found there.
 */
export function belowOf(pid: number): readonly number[] {
  const found: number[] = []
  const queue = [pid]
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const children = childrenOfAll(next)
    found.push(...children)
    queue.push(...children)
    if (found.length >= PROCESSES_MAX) break
  }
  return found
}

/** Children are listed by the thread that forked them (`/proc/PID/task/TID/children`). */
function childrenOfAll(pid: number): readonly number[] {
  return threadsOf(pid).flatMap((thread) => {
    try {
      const text = readText(`/proc/${pid}/task/${thread}/children`)
      return text ? text.trim().split(' ').map(Number) : []
    } catch {
      return []
    }
  })
}

/** Number of processes and threads: this process and all its descendants. */
export function tasksOf(pid: number): number {
  return tasksIn([pid, ...belowOf(pid)])
}

export function tasksIn(pids: readonly number[]): number {
  return pids.reduce((sum, one) => sum + threadsOf(one).length, 0)
}

/**
 * Bytes of memory that they hold: what is theirs alone, what they share among them as often as they map it, and of
 * files only the largest share, for a hundred children of one program have its code once.
 */
export function bytesOf(pids: readonly number[]): number {
  let [own, files] = [0, 0]
  for (const pid of pids) {
    const text = statusOf(pid)
    own += kibIn(text, 'RssAnon') + kibIn(text, 'RssShmem')
    files = Math.max(files, kibIn(text, 'RssFile'))
  }
  return (own + files) * 1024
}

/** The same, those that hold most memory of their own first. */
export function largestFirst(pids: readonly number[]): readonly number[] {
  const own = new Map(pids.map((pid) => [pid, kibIn(statusOf(pid), 'RssAnon')]))
  return pids.toSorted((a, b) => own.get(b)! - own.get(a)!)
}

/** Bytes of shared memory that one of them has mapped, of whichever has most. */
export function mostShared(pids: readonly number[]): number {
  return pids.reduce((most, pid) => Math.max(most, kibIn(statusOf(pid), 'RssShmem')), 0) * 1024
}

/** Milliseconds of processor time: of those that live, and of those they have waited for. */
export function cpuMsOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (processFacts(pid)?.treeTicks ?? 0), 0) * MS_PER_TICK
}

const MS_PER_TICK = 10

function statusOf(pid: number): string {
  try {
    return readText(`/proc/${pid}/status`)
  } catch {
    return ''
  }
}

function kibIn(text: string, name: string): number {
  const at = text.indexOf(`\n${name}:`)
  return at < 0 ? 0 : Number.parseInt(text.slice(at + name.length + 2), 10)
}
