/**
 * CPU limit in user space, for walls without a CFS quota: a token bucket of CPU time. A wall that overdraws it is
 * stopped (SIGSTOP) and continued when the bucket is refilled. Pure: returns for a usage whether the wall may run.
 */
export interface CpuThrottle {
  /** Takes monotonic time and used CPU time, both in milliseconds. True if the wall may run. */
  check(nowMs: number, usedMs: number): boolean
}

/** Burst: maximum CPU time that a sleeping wall accumulates. */
const CREDIT_MS_MAX = 200

export function createCpuThrottle(cores: number, nowMs: number, usedMs: number): CpuThrottle {
  let [seenMs, countedMs] = [nowMs, usedMs]
  let creditMs = 0
  let runs = true
  return {
    check(now, used) {
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
