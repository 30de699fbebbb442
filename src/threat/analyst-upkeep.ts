import type { WardenClient } from '../walls/client.ts'
import type { WallHandle } from '../walls/handle.ts'
import { claimFully, type WorkerBounds } from '../walls/worker-claim.ts'
import { deadlineFor } from '../walls/worker-deadline.ts'
import type { WorkerSpares } from '../walls/worker-spares.ts'

/**
 * Maintenance of analysis processes between two sources.
 *
 * Problem: the warden measures the memory that a process retained from earlier sources when the process is claimed.
 * A claim for each source took a third of the time of each analysis, and a process over its bound was replaced while a
 * source waited.
 *
 * Mechanism: several sources share the memory bound and deadline of one claim (`WorkerDeadline`). After a large
 * source, or a number of small ones, the process must be claimed again. That is done here while it is idle, after a
 * delay in which it collects garbage; a source that arrives earlier makes the claim itself. A spent process gets no
 * further source, and ends when its replacement is ready.
 */
export const analystAnswerMsMax = 5_000

/**
 * Memory above the idle size, enough to parse a source at the size limit. The warden's deadline is at most half a
 * second before the answer deadline, and never after it.
 */
export const analystBounds: WorkerBounds = {
  memory: 512 * 2 ** 20,
  lifeMs: analystAnswerMsMax - deadlineFor(0),
}

/** A claim is due after one source larger than this, or after this many sources. */
const SMALL_UNITS = 65_536
const SOURCES_MAX = 64
/** Longer than a garbage collection takes. */
const UPKEEP_DELAY_MS = 150

export class AnalystUpkeep {
  readonly #workers: Pick<WorkerSpares, 'isIdle' | 'retire'>
  readonly #warden: WardenClient
  readonly #sources = new WeakMap<WallHandle, number>()
  readonly #claims = new WeakMap<WallHandle, Promise<void>>()

  constructor(workers: Pick<WorkerSpares, 'isIdle' | 'retire'>, warden: WardenClient) {
    this.#workers = workers
    this.#warden = warden
  }

  /** Resolves when no claim of this process is in progress. */
  async settled(wall: WallHandle): Promise<void> {
    await this.#claims.get(wall)
  }

  /** Call after the analysis of a source of this size. */
  after(wall: WallHandle, units: number): void {
    const sources = (this.#sources.get(wall) ?? 0) + 1
    const isDue = units > SMALL_UNITS || sources >= SOURCES_MAX
    this.#sources.set(wall, isDue ? 0 : sources)
    if (!isDue || !wall.alive) return
    wall.memoryBound = undefined
    setTimeout(() => this.#claimIfIdle(wall), UPKEEP_DELAY_MS).unref()
  }

  #claimIfIdle(wall: WallHandle): void {
    if (!wall.alive || wall.memoryBound !== undefined || !this.#workers.isIdle(wall)) return
    const claim = this.#claim(wall).finally(() => this.#claims.delete(wall))
    this.#claims.set(wall, claim)
  }

  /** Claims an idle process again and retires a spent one. Never rejects. */
  async #claim(wall: WallHandle): Promise<void> {
    try {
      const isOurs = await claimFully(wall, this.#warden, analystBounds)
      wall.deadline.disarm()
      if (isOurs) return
      wall.memoryBound = undefined
      void this.#workers.retire(wall)
    } catch {
      // Warden or wall is lost: the next source that uses the process gets the error.
      wall.memoryBound = undefined
    }
  }
}
