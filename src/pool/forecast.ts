import type { Clock } from '../contract/clock.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import { TenantLru } from './tenant-lru.ts'

/** Milliseconds of processor time of a short job. */
const SHORT_MS = 250
const endsByItself: ReadonlySet<Outcome['status']> = new Set(['ok', 'error', 'refused'])
/** About what one entry takes. */
const ENTRY_BYTES = 256
const BOUNDS = { bytes: 4 * 2 ** 20, age: 3_600_000 } as const

/**
 * Tells by the last run of the same code of a tenant whether a job will take little processor time and end by itself: such a job
 * may pass those that compute for long (`admission.ts`), and finds a spare where others wait (`spare-pool.ts`). A forecast only: a job that turns out long keeps its place, and the next one
 * of its code is not short any more.
 */
export class Forecast {
  readonly #runs: TenantLru<{
    readonly bytes: number
    readonly at: number
    readonly isShort: boolean
  }>
  readonly #codes = new WeakMap<Job, string>()
  readonly #clock: Clock

  constructor(clock: Clock) {
    this.#clock = clock
    this.#runs = new TenantLru(() => BOUNDS, clock)
  }

  /** `code`: digest of the job's source; before the others. */
  follow(job: Job, code: string): void {
    this.#codes.set(job, code)
  }

  isShort(job: Job): boolean {
    const code = this.#codes.get(job)
    return code !== undefined && this.#runs.get(job.tenant, code)?.isShort === true
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
    const isShort = cpuMs <= SHORT_MS && endsByItself.has(status)
    this.#runs.put(job.tenant, code, { bytes: ENTRY_BYTES, at: this.#clock.now(), isShort })
  }
}
