import { isAlive, isExiting, isFirstThreadExiting } from '../../../os/proc.ts'
import type { RunscResources } from './wall.ts'

/**
 * Detects that a sentry is exiting by itself. The exit takes 20 ms, or a second on a busy machine: its descriptors are
 * closed first, then its process ends, then the gofer, and `runsc run` forwards the exit code last. A failed read
 * during that time means the normal end of the job, not a lost wall. No instruction of the program runs in an exiting
 * sentry.
 */
const ENDING_MS_MAX = 5_000
/**
 * Time limit of a sentry without its gofer. A killed gofer cannot be distinguished from one that ended with its sentry:
 * a sentry without files kills its program from inside, and waits for ever if one of its stubs was killed too.
 */
const GOFER_LOST_MS_MAX = 1_000
/**
 * Time in which its first thread stands for the whole sentry: at an exit by another thread it may be gone before that
 * one is seen to exit. A sentry that was compromised may end its first thread alone.
 */
const FIRST_THREAD_MS_MAX = 1_000

export class SentryExit {
  readonly #processes: Pick<RunscResources, 'processes'>
  #since: number | undefined

  constructor(resources: Pick<RunscResources, 'processes'>) {
    this.#processes = resources
  }

  /** Throws if the exit takes too long. */
  look(nowMs: number): boolean {
    const [, sandbox, gofer] = this.#processes.processes
    if (!sandbox || !gofer) return false
    const begins = isFirstThreadExiting(sandbox.pid, sandbox.startTime)
    const hasGofer = isAlive(gofer.pid, gofer.startTime)
    if (!begins && hasGofer) this.#since = undefined
    else this.#since ??= nowMs
    const lasts = nowMs - (this.#since ?? nowMs)
    const ends =
      begins && (lasts <= FIRST_THREAD_MS_MAX || isExiting(sandbox.pid, sandbox.startTime))
    if (ends && lasts > ENDING_MS_MAX) throw new Error('the sentry does not end')
    if (!ends && !hasGofer && lasts > GOFER_LOST_MS_MAX) throw new Error('its gofer ended')
    return ends
  }
}
