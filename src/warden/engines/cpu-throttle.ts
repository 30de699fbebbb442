/**
 * CPU limit in user space, for walls without a CFS quota: a token bucket of CPU time. A wall that overdraws it is stopped
 * (SIGSTOP) and continued when the bucket is even again. Pure: given usage, says whether it may run.
 */
export interface CpuThrottle {
  /** Wall clock and used CPU time, both in milliseconds. True: the wall may run. */
  look(nowMs: number, usedMs: number): boolean
}

/** Most CPU time that a wall saves up while it sleeps. */
const CREDIT_MS_MAX = 200

export function createCpuThrottle(cores: number, nowMs: number, usedMs: number): CpuThrottle {
  let [seenMs, countedMs] = [nowMs, usedMs]
  let creditMs = 0
  let runs = true
  return {
    look(now, used) {
      creditMs += (now - seenMs) * cores - Math.max(0, used - countedMs)
      creditMs = Math.min(creditMs, CREDIT_MS_MAX * Math.max(cores, 1))
      seenMs = now
      // The sum falls when a process is reaped; its usage was charged while it lived.
      countedMs = used
      runs = runs ? creditMs >= 0 : creditMs > 0
      return runs
    },
  }
}
