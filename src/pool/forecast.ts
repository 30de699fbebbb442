import type { Clock } from '../contract/clock.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import { TenantLru } from './tenant-lru.ts'
import { TenantScores } from './tenant-scores.ts'

/** Maximum CPU time of a short job, in milliseconds. */
const SHORT_MS = 250
/** Score of wrong forecasts from which a tenant gets no forecasts; it halves each 30 seconds. */
const WRONG_MAX = 3
const endsByItself: ReadonlySet<Outcome['status']> = new Set(['ok', 'error', 'refused'])
/** Approximate size of one entry. */
const ENTRY_BYTES = 256
const BOUNDS = { bytes: 4 * 2 ** 20, age: 3_600_000 } as const

/**
 * Predicts from the last run of the same code of a tenant whether a job will use little CPU time and end by itself.
 * Such a job overtakes long ones (`admission.ts`), may take a reserved spare (`spare-pool.ts`), and starts with more
 * CPU weight. A wrong forecast costs little: the job keeps its slot, and the next run of its code does not count as
 * short.
 *
 * The runtime of code depends on its input, so a tenant can manipulate the forecast. Each job that was expected to be
 * short and was not adds one to the score of its tenant (`tenant-scores.ts`); from three on, no job of that tenant is
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

  /** Call before the other methods. `code`: digest of the job's source. */
  follow(job: Job, code: string): void {
    this.#codes.set(job, code)
  }

  /** Digest of the source of a followed job. */
  codeOf(job: Job): string | undefined {
    return this.#codes.get(job)
  }

  isShort(job: Job): boolean {
    const code = this.#codes.get(job)
    if (code === undefined || this.#runs.get(job.tenant, code)?.isShort !== true) return false
    if (this.#wrong.of(job.tenant) >= WRONG_MAX) return false
    this.#expected.add(job)
    return true
  }

  /**
   * `metrics.cpuTime` is 0 for a job that never began, which is ignored. Code that was ended by force is not short,
   * even if it ended soon: its next run would probably end in the same way.
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
