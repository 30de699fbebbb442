/**
 * A bound on processor time for whoever has no quota of the kernel's: what runs is stopped when it has used more than
 * its share of the time that went by, and goes on when it is even again. Pure: told what was used, says what to do.
 */
export interface Duty {
  /** Both in milliseconds, counted from anywhere. True: let it run. */
  look(nowMs: number, usedMs: number): boolean
}

/** What one that waited may use at once. */
const CREDIT_MS_MAX = 200

export function createDuty(cores: number, nowMs: number, usedMs: number): Duty {
  let [seenMs, countedMs] = [nowMs, usedMs]
  let creditMs = 0
  let runs = true
  return {
    look(now, used) {
      creditMs += (now - seenMs) * cores - Math.max(0, used - countedMs)
      creditMs = Math.min(creditMs, CREDIT_MS_MAX * Math.max(cores, 1))
      seenMs = now
      // One that has gone takes its count along; what it used was held against it while it lived.
      countedMs = used
      runs = runs ? creditMs >= 0 : creditMs > 0
      return runs
    },
  }
}
