import { isAlive, isExiting } from '../../../os/proc.ts'
import type { RunscResources } from './wall.ts'

/**
 * Whether a sentry is ending by itself. Its exit takes 20 ms idle and a second on a busy machine: its descriptors go first,
 * then its process, then the gofer, and `runsc run` passes the exit code on last. A failed read meanwhile means the normal
 * end of the job, not a lost wall. No instruction of the program runs in a sentry that exits.
 */
const ENDING_MS_MAX = 5_000
/**
 * Time of a sentry without its gofer. A gofer that was killed looks like one that ended with its sentry: a sentry without
 * files kills its program from inside, and waits for ever if a stub of it was killed too.
 */
const GOFER_LOST_MS_MAX = 1_000

export class SentryExit {
  readonly #processes: Pick<RunscResources, 'processes'>
  #since: number | undefined

  constructor(resources: Pick<RunscResources, 'processes'>) {
    this.#processes = resources
  }

  /** Throws where the end takes too long. */
  look(nowMs: number): boolean {
    const [, sandbox, gofer] = this.#processes.processes
    if (!sandbox || !gofer) return false
    const ends = isExiting(sandbox.pid, sandbox.startTime)
    if (!ends && isAlive(gofer.pid, gofer.startTime)) this.#since = undefined
    else this.#since ??= nowMs
    const lasts = nowMs - (this.#since ?? nowMs)
    if (lasts > (ends ? ENDING_MS_MAX : GOFER_LOST_MS_MAX))
      throw new Error(ends ? 'the sentry does not end' : 'its gofer ended')
    return ends
  }
}
