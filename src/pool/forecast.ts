import type { Clock } from '../contract/clock.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import { TenantLru } from './tenant-lru.ts'
import { TenantScores } from './tenant-scores.ts'

/** Milliseconds of processor time of a short job. */
const SHORT_MS = 250
/** Wrong forecasts of a tenant, each half forgotten after half a minute. */
const WRONG_MAX = 3
const endsByItself: ReadonlySet<Outcome['status']> = new Set(['ok', 'error', 'refused'])
/** About what one entry takes. */
const ENTRY_BYTES = 256
const BOUNDS = { bytes: 4 * 2 ** 20, age: 3_600_000 } as const

/**
 * Tells by the last run of the same code of a tenant whether a job will take little processor time and end by itself: such a job
 * may pass those that compute for long (`admission.ts`), finds a spare where others wait (`spare-pool.ts`), and has more weight
 * at first. A forecast only: a job that turns out long keeps its place, and the next one of its code is not short any more.
 *
 * Code decides by its input how long it runs, so its tenant decides what is forecast. Each job that took long where it was
 * expected to be short adds one to the score of its tenant (`tenant-scores.ts`); from three on nothing of that tenant is
 * expected to be short. Not handled: as many such jobs at once as the tenant may have walls.
 */
export class Forecast {
  readonly #runs: TenantLru<{
    readonly bytes: number
    readonly at: number
    readonly isShort: boolean
  }>
  readonly #codes = new WeakMap<Job, string>()
  readonly #expected = new WeakSet<Job>()
  readonly #wrong: TenantScores
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
    this.#runs = new TenantLru(() => BOUNDS, clock)
    this.#wrong = new TenantScores(clock)
  }

  /** `code`: digest of the job's source; before the others. */
  follow(job: Job, code: string): void {
    this.#codes.set(job, code)
  }

  isShort(job: Job): boolean {
    const code = this.#codes.get(job)
    if (code === undefined || this.#runs.get(job.tenant, code)?.isShort !== true) return false
    if (this.#wrong.of(job.tenant) >= WRONG_MAX) return false
    this.#expected.add(job)
    return true
  }

  /**
   * `cpuMs`: what its run took; 0 for one that never began, which tells nothing. Code that was ended, at a limit or for what it
   * did, would be again: it is not short, however soon that was.
   */
  note(
    job: Job,
    { status, metrics }: Pick<Outcome, 'status'> & { metrics: { cpuTime: number } },
  ): void {
    const code = this.#codes.get(job)
    const cpuMs = metrics.cpuTime
    if (code === undefined || cpuMs <= 0) return
    if (cpuMs > SHORT_MS && this.#expected.delete(job)) this.#wrong.add(job.tenant)
    const isShort = cpuMs <= SHORT_MS && endsByItself.has(status)
    this.#runs.put(job.tenant, code, { bytes: ENTRY_BYTES, at: this.#clock.now(), isShort })
  }
}
