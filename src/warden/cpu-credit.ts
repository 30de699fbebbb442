/**
 * CPU credit of a wall, which precedes other walls while it has some: a token bucket.
 *
 * Problem: the short jobs of a tenant, one after another in one worker, wait behind programs that compute, and a forecast
 * for each of them would cost a request to the warden each.
 *
 * Mechanism: the bucket begins full, with `CREDIT_MS` of CPU time. That of a worker is refilled at `REFILL_CORES`, so that
 * one that uses less than this never falls behind; that of a wall with one job is not. What was used beyond the bucket is
 * a debt, and an emptied one counts again when half of it is full. A worker that uses just what is refilled gains little:
 * four of them take a core.
 *
 * Source: the CPU credits of burstable instances; the token bucket of traffic shaping.
 */

/** CPU time in milliseconds for which a wall has precedence. */
export const CREDIT_MS = 100
/** Longest debt, in milliseconds: after a long job a worker has none of its credit for a while, and not for ever. */
const DEBT_MS_MAX = 1_000
/** Milliseconds of credit per millisecond. A tenth was less than eight small jobs a second use with their collections. */
const REFILL_CORES = 0.25

export class CpuCredit {
  readonly #refill: number
  #left = CREDIT_MS
  #atMs: number
  #cpuMs: number
  #isAhead = true

  /** `cpuMs`: CPU time used before. */
  constructor({ atMs, cpuMs, isWorker }: CpuReading & { readonly isWorker: boolean }) {
    this.#refill = isWorker ? REFILL_CORES : 0
    this.#atMs = atMs
    this.#cpuMs = cpuMs
  }

  get isAhead(): boolean {
    return this.#isAhead
  }

  /** Charges what was used since the last reading; returns true if `isAhead` has changed. */
  charge({ atMs, cpuMs }: CpuReading): boolean {
    const refilled = this.#left + (atMs - this.#atMs) * this.#refill
    const left = Math.min(CREDIT_MS, refilled) - (cpuMs - this.#cpuMs)
    this.#left = Math.max(left, -DEBT_MS_MAX)
    this.#atMs = atMs
    this.#cpuMs = cpuMs
    const was = this.#isAhead
    this.#isAhead = this.#left >= (was ? 0 : CREDIT_MS / 2)
    return this.#isAhead !== was
  }
}

/** CPU time of a wall so far, at a time; both in milliseconds. */
export interface CpuReading {
  readonly atMs: number
  readonly cpuMs: number
}
