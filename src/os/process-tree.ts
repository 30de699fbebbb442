import {
  besideKib,
  childrenOf,
  kibIn,
  processFacts,
  rollupOf,
  statusOf,
  threadsOf,
} from './proc.ts'

/** Processes of one wall, read from /proc outside the wall. */

/** Bound of a scan, above every limit on processes. Processes beyond it are not listed, but die with their namespace's init. */
const PROCESSES_MAX = 4096

/**
 * All descendants of a process, nearest first. Orphans are found too: without a subreaper they are reparented to the init
 * of their PID namespace, which is a descendant itself.
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
  return threadsOf(pid).flatMap((thread) => childrenOf(pid, thread))
}

/** Number of processes and threads: this process and all its descendants. */
export function tasksOf(pid: number): number {
  return tasksIn([pid, ...belowOf(pid)])
}

export function tasksIn(pids: readonly number[]): number {
  return pids.reduce((sum, one) => sum + threadsOf(one).length, 0)
}

/**
 * Memory of processes in bytes: the sum of anonymous and shared memory, a shared page once for each process, of page
 * tables and swapped pages, and the largest file mapping of one process, because forked children share the pages of their
 * program.
 */
export function bytesOf(pids: readonly number[]): number {
  let [own, files] = [0, 0]
  for (const pid of pids) {
    const text = statusOf(pid)
    own += ownKib(text)
    files = Math.max(files, kibIn(text, 'RssFile'))
  }
  return (own + files) * 1024
}

/** Sorts pids by anonymous memory, largest first. */
export function largestFirst(pids: readonly number[]): readonly number[] {
  const own = new Map(pids.map((pid) => [pid, kibIn(statusOf(pid), 'RssAnon')]))
  return pids.toSorted((a, b) => own.get(b)! - own.get(a)!)
}

/** Shared memory that these processes mapped and touched, in bytes: a shared page counts once for each process. */
export function sharedBytesOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + kibIn(statusOf(pid), 'RssShmem'), 0) * 1024
}

/**
 * Proportional shared memory in bytes: each page is divided by its users; Infinity if the kernel does not report it
 * (before Linux 5.9).
 */
export function proportionalSharedBytesOf(pids: readonly number[]): number {
  return (
    pids.reduce((sum, pid) => {
      const text = rollupOf(pid)
      // An ended process has no pages, and its files are empty. A kernel may lack this one.
      const whole = () => kibIn(statusOf(pid), 'RssShmem')
      return sum + (text === '' ? whole() : kibIn(text, 'Pss_Shmem', Infinity))
    }, 0) * 1024
  )
}

/**
 * Anonymous and shared memory of processes in bytes, a shared page once for each process, with page tables and swapped
 * pages; no files.
 */
export function ownBytesOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + ownKib(statusOf(pid)), 0) * 1024
}

function ownKib(status: string): number {
  return kibIn(status, 'RssAnon') + kibIn(status, 'RssShmem') + besideKib(status)
}

/** CPU time in milliseconds of these processes and of their reaped children. */
export function cpuMsOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (processFacts(pid)?.treeTicks ?? 0), 0) * MS_PER_TICK
}

/** CPU time in milliseconds of the reaped children of a process. */
export function cpuMsOfReaped(pid: number): number {
  const facts = processFacts(pid)
  return facts ? (facts.treeTicks - facts.cpuTicks) * MS_PER_TICK : 0
}

const MS_PER_TICK = 10
