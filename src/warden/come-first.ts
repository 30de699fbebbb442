import { writeFileSync } from 'node:fs'
import os from 'node:os'
import { openCgroups } from '../os/cgroup.ts'
import { threadsOf } from '../os/proc.ts'

/** Of the warden, which holds everybody to their bounds; of the server, which keeps the time of phases. */
export const niceOf = { warden: -10, server: -5, wall: 0 } as const

/**
 * Lets a process come before others, where this user may; whoever may not has to share. Every thread of it: who
 * collects garbage waits for those that help. And by its group: a kernel that groups processes by their sessions
 * compares what is nice in no other way within each.
 */
export function comeFirst(nice: number, pid: number = process.pid): void {
  for (const thread of numbersOf(pid)) setNice(thread, nice)
  openCgroups()?.comeFirst(pid)
}

/** What a process with a single thread starts, and every thread of it, has it too. */
export function setNice(pid: number, nice: number): void {
  try {
    os.setPriority(pid, nice)
  } catch {
    // An ordinary user cannot go above where it was started.
  }
}

/** At least so nice, in every thread: one that was started before its maker was nice has not got it from there. */
export function giveWay(pid: number, nice: number): void {
  for (const thread of numbersOf(pid)) {
    try {
      if (os.getPriority(thread) < nice) os.setPriority(thread, nice)
    } catch {
      // It is over.
    }
  }
}

/** When the machine is out of memory, whatever took it: what it starts as well, and none of it can take it back. */
export function goFirst(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, `${OOM_FIRST}`)
  } catch {
    // It is over, or this is no Linux.
  }
}

const OOM_FIRST = 1000

/** Where nobody tells of threads, the process is all there is. */
function numbersOf(pid: number): readonly number[] {
  const threads = threadsOf(pid).map(Number)
  return threads.length > 0 ? threads : [pid]
}
