import { writeFileSync } from 'node:fs'
import os from 'node:os'
import { openCgroups } from './cgroup.ts'
import { threadsOf } from './proc.ts'

/**
 * CPU priority (nice values, cgroup weight) and OOM score of processes. No function throws: a user without
 * CAP_SYS_NICE cannot raise a priority, and a process may have ended.
 */

/** oom_score_adj at which the OOM killer picks a process before every other. */
const OOM_SCORE_MAX = 1000

/**
 * Raises the priority of every thread of a process: V8's main thread waits for its GC helpers. Also raises its cgroup,
 * because autogroup (CONFIG_SCHED_AUTOGROUP) compares nice values only within a session.
 */
export function raisePriority(nice: number, pid: number = process.pid): void {
  for (const thread of threadIdsOf(pid)) setNice(thread, nice)
  openCgroups()?.raisePriority(pid)
}

/** Sets the nice value of a process; later threads and children inherit it. */
export function setNice(pid: number, nice: number): void {
  try {
    os.setPriority(pid, nice)
  } catch {
    // EACCES: an ordinary user cannot go below the nice value it was started with.
  }
}

/** Raises the nice value of each thread that is below it: a child forked before its parent's was set did not inherit it. */
export function lowerPriority(pid: number, nice: number): void {
  for (const thread of threadIdsOf(pid)) {
    try {
      if (os.getPriority(thread) < nice) os.setPriority(thread, nice)
    } catch {
      // ESRCH: it ended.
    }
  }
}

/** Makes the OOM killer pick this process first (`oom_score_adj` is inherited; lowering it takes CAP_SYS_RESOURCE). */
export function preferForOomKill(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, `${OOM_SCORE_MAX}`)
  } catch {
    // ESRCH, or not on Linux.
  }
}

/** Without /proc the process id is the only thread id known. */
function threadIdsOf(pid: number): readonly number[] {
  const threads = threadsOf(pid).map(Number)
  return threads.length > 0 ? threads : [pid]
}
