import type { SentryControl } from './control.ts'

/**
 * Enforces the bound on tasks. `pids.max` of the sentry's own cgroup refuses a fork only by chance: the sentry charges
 * it to one of seven hierarchies, in the random order of a Go map (gvisor `task_cgroup.go`, `chargeLocked`, also in
 * later releases). `pids.current` is exact, so it is polled, and a job over its bound is ended.
 */
const POLL_MS = 50
/** Share of the bound above which tasks are counted at each sample: a fork bomb doubles in milliseconds. */
const NEAR = 0.5
/** Longest time without an answer, from an exiting sentry or on a busy machine, before an error. */
const SILENT_MS_MAX = 12_000

export class TaskWatch {
  readonly #control: Pick<SentryControl, 'tasks'>
  #tasks = 0
  #isAsking = false
  #askedAt = -Infinity
  #answeredAt: number | undefined

  constructor(control: Pick<SentryControl, 'tasks'>) {
    this.#control = control
  }

  /**
   * True if the last answer exceeded `tasksMax`; sends the next request. Throws without an answer for `SILENT_MS_MAX`.
   */
  isOver(tasksMax: number, nowMs: number): boolean {
    this.#answeredAt ??= nowMs
    if (nowMs - this.#answeredAt > SILENT_MS_MAX) throw new Error('the sentry counts no tasks')
    const isNear = this.#tasks > tasksMax * NEAR
    if (!this.#isAsking && (isNear || nowMs - this.#askedAt >= POLL_MS)) this.#ask(nowMs)
    return this.#tasks > tasksMax
  }

  #ask(nowMs: number): void {
    this.#askedAt = nowMs
    this.#isAsking = true
    void this.#count().finally(() => void (this.#isAsking = false))
  }

  async #count(): Promise<void> {
    try {
      this.#tasks = await this.#control.tasks()
      this.#answeredAt = performance.now()
    } catch {
      // An ended sentry does not answer; its end is reported elsewhere.
    }
  }
}
