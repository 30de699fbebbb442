/**
 * Deadline of a worker at the warden, shared by consecutive jobs of one tenant.
 *
 * Problem: a job of one millisecond needed two requests to the warden, to set its deadline and to lift it. Both read
 * the CPU time of the worker, which cost a fifth of the job's own CPU time.
 *
 * Mechanism: the warden keeps the deadline between two jobs. The next one renews it only if less than its life and
 * `SLACK_MS_MIN` is left, or more than its life and `SLACK_MS_MAX`: so its deadline is never later than one armed for
 * it alone. A job under the deadline of an earlier one calls `own` at its first sample: from then on deadline, peak and
 * CPU time at the warden are of this job. The deadline of an idle worker is disarmed once.
 *
 * Relies on the order of the warden's channel, and on the warden for every bound: this side stores the earliest time at
 * which the deadline may pass. Near that time the worker must be claimed again, because it may already be killed. Not
 * handled: figures of a job that ends before its first sample; `isOwn` is false then, because the warden's figures
 * include earlier jobs.
 */
export class WorkerDeadline {
  readonly #orders: DeadlineRequests
  readonly #now: () => number
  /** Earliest end of its deadline on the monotonic clock; undefined if none is armed. */
  #endsAt: number | undefined
  #lifeMs = 0
  #beganAt = 0
  #isOwn = true

  constructor(orders: DeadlineRequests, now: () => number = () => performance.now()) {
    this.#orders = orders
    this.#now = now
  }

  /** True if the warden's figures are of this job alone. */
  get isOwn(): boolean {
    return this.#isOwn
  }

  /** True once the life of this job is over, also while the server stands still. */
  get isOver(): boolean {
    return this.#now() - this.#beganAt >= this.#lifeMs
  }

  get isArmed(): boolean {
    return this.#endsAt !== undefined
  }

  /**
   * Begins a job of at most `lifeMs`. False if the warden may already be killing the worker: it must be claimed again.
   */
  begin(lifeMs: number): boolean {
    const now = this.#now()
    const leftMs = this.#endsAt === undefined ? undefined : this.#endsAt - now
    if (leftMs !== undefined && leftMs < ENDING_MS) return false
    this.#lifeMs = Math.ceil(lifeMs)
    this.#beganAt = now
    this.#isOwn = leftMs === undefined || !isWithinSlack(leftMs - this.#lifeMs)
    if (this.#isOwn) this.#arm(now, 0)
    return true
  }

  /** The worker was claimed, for a job of at most `lifeMs`, by a request that was sent at `sentAt`. */
  claimed(lifeMs: number, sentAt: number): void {
    this.#lifeMs = Math.ceil(lifeMs)
    this.#beganAt = sentAt
    this.#isOwn = true
    this.#endsAt = sentAt + deadlineFor(lifeMs)
  }

  /** Resets deadline, peak and CPU time at the warden for the running job. Idempotent. */
  own(): void {
    if (this.#isOwn) return
    const now = this.#now()
    this.#isOwn = true
    this.#arm(now, Math.ceil(now - this.#beganAt))
  }

  /** Disarms the deadline of an idle worker. Idempotent. */
  disarm(): void {
    if (this.#endsAt === undefined) return
    this.#endsAt = undefined
    this.#orders.disarm()
  }

  #arm(now: number, ranMs: number): void {
    const deadlineMs = Math.max(1, deadlineFor(this.#lifeMs) - ranMs)
    this.#endsAt = now + deadlineMs
    this.#orders.arm(deadlineMs, ranMs)
  }
}

/** Requests to the warden, neither of which is answered. */
interface DeadlineRequests {
  /** `deadlineMs`: milliseconds from now until the wall is killed; `ranMs`: run time of its job so far. */
  arm(deadlineMs: number, ranMs: number): void
  disarm(): void
}

/** Deadline at the warden in milliseconds from the claim, later than those of the guest and the supervisor. */
export function deadlineFor(lifeMs: number): number {
  return Math.ceil(lifeMs) + SLACK_MS_MAX
}

function isWithinSlack(slackMs: number): boolean {
  return slackMs >= SLACK_MS_MIN && slackMs <= SLACK_MS_MAX
}

const SLACK_MS_MAX = 1_000
/** Also bounds the CPU time that consecutive jobs accumulate: the warden lowers the rank of a worker after 500 ms. */
const SLACK_MS_MIN = 500
/** A deadline this near may pass before a request arrives, or while this process is not scheduled. */
const ENDING_MS = 250
