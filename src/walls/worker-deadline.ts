/**
 * Deadline of a worker at the warden, which the jobs of one tenant share as they follow one another.
 *
 * Problem: a job of a millisecond asked the warden twice, for a deadline before it and for its end afterwards. Both
 * read the CPU time of the worker, and took a fifth of the processor time that the job itself takes.
 *
 * Mechanism: the warden keeps the deadline between two jobs. The next one renews it only if less than its life and
 * `SLACK_MS_MIN` is left, or more than its life and `SLACK_MS_MAX`: no job has a later deadline than one that was armed
 * for it alone. A job under the deadline of an earlier one takes the worker over (`own`) at its first sample: from then on
 * deadline, peak and CPU time at the warden are its own. A worker that stays idle is disarmed once.
 *
 * Relies on the order of the warden's channel, and on the warden for every bound: what is kept here is the earliest
 * moment at which its deadline may pass. Close to that moment the worker has to be claimed anew, because it may be
 * ended already. Not handled: figures of a job that ends before its first sample; `isOwn` says that those of the warden
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

  /** Whether the warden counts for this job alone. */
  get isOwn(): boolean {
    return this.#isOwn
  }

  get isArmed(): boolean {
    return this.#endsAt !== undefined
  }

  /** Begins a job of at most `lifeMs`. False if the warden may be ending the worker: it has to be claimed anew. */
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

  /** Has the warden count for the running job alone. Idempotent. */
  own(): void {
    if (this.#isOwn) return
    const now = this.#now()
    this.#isOwn = true
    this.#arm(now, Math.ceil(now - this.#beganAt))
  }

  /** Ends the deadline of an idle worker. Idempotent. */
  rest(): void {
    if (this.#endsAt === undefined) return
    this.#endsAt = undefined
    this.#orders.rest()
  }

  #arm(now: number, ranMs: number): void {
    const deadlineMs = Math.max(1, deadlineFor(this.#lifeMs) - ranMs)
    this.#endsAt = now + deadlineMs
    this.#orders.arm(deadlineMs, ranMs)
  }
}

/** Requests to the warden, neither of which is answered. */
interface DeadlineRequests {
  /** Milliseconds from now until the wall is killed, and for which its job has run by now. */
  arm(deadlineMs: number, ranMs: number): void
  rest(): void
}

/** Deadline of the warden for a job of this life, counted from its claim: guest and supervisor end it first. */
export function deadlineFor(lifeMs: number): number {
  return Math.ceil(lifeMs) + SLACK_MS_MAX
}

function isWithinSlack(slackMs: number): boolean {
  return slackMs >= SLACK_MS_MIN && slackMs <= SLACK_MS_MAX
}

const SLACK_MS_MAX = 1_000
/** Also bounds how long CPU time of jobs adds up: the warden lowers the rank of a worker that computes for 500 ms. */
const SLACK_MS_MIN = 500
/** A deadline this near may have passed before a request arrives, or while this process did not run. */
const ENDING_MS = 250
