import type { WardenClient } from '../walls/client.ts'
import type { WallHandle } from '../walls/handle.ts'
import { claimFully, type WorkerBounds } from '../walls/worker-claim.ts'
import { deadlineFor } from '../walls/worker-deadline.ts'
import type { WorkerSpares } from '../walls/worker-spares.ts'

/**
 * Care for analysis processes between two sources.
 *
 * Problem: the warden says whether a process kept too much memory of earlier sources when it is claimed, which took a
 * third of the time of each analysis; and one that had was replaced while a source waited.
 *
 * Mechanism: sources share the memory bound of one claim and its deadline (`WorkerDeadline`). After a large source, and after
 * some number of any, the process has to be claimed anew. That is done here while it is idle, a moment later, when it has
 * collected its garbage; a source that comes before does it itself. One that is spent serves nobody any more, and ends
 * when the spare is there.
 */
export const answerMsMax = 5_000

/**
 * Memory above the idle size, enough to parse a source at the size limit. The warden's deadline is that of the answer,
 * or half a second earlier.
 */
export const analystBounds: WorkerBounds = {
  memory: 512 * 2 ** 20,
  lifeMs: answerMsMax - deadlineFor(0),
}

/** A source up to this size leaves little, and so do this many of them. */
const SMALL_UNITS = 65_536
const SOURCES_MAX = 64
/** Longer than a collection of garbage takes. */
const LOOK_AFTER_MS = 150

export class AnalystUpkeep {
  readonly #workers: Pick<WorkerSpares, 'isIdle' | 'retire'>
  readonly #warden: WardenClient
  readonly #sources = new WeakMap<WallHandle, number>()
  readonly #looks = new WeakMap<WallHandle, Promise<void>>()

  constructor(workers: Pick<WorkerSpares, 'isIdle' | 'retire'>, warden: WardenClient) {
    this.#workers = workers
    this.#warden = warden
  }

  /** Resolves when no look at it is under way. */
  async settled(wall: WallHandle): Promise<void> {
    await this.#looks.get(wall)
  }

  /** A source of this size was analysed. */
  after(wall: WallHandle, units: number): void {
    const sources = (this.#sources.get(wall) ?? 0) + 1
    const isDue = units > SMALL_UNITS || sources >= SOURCES_MAX
    this.#sources.set(wall, isDue ? 0 : sources)
    if (!isDue || !wall.alive) return
    wall.memoryBound = undefined
    setTimeout(() => this.#look(wall), LOOK_AFTER_MS).unref()
  }

  #look(wall: WallHandle): void {
    if (!wall.alive || wall.memoryBound !== undefined || !this.#workers.isIdle(wall)) return
    const look = this.#claim(wall).finally(() => this.#looks.delete(wall))
    this.#looks.set(wall, look)
  }

  /** Never rejects. */
  async #claim(wall: WallHandle): Promise<void> {
    try {
      const isOurs = await claimFully(wall, this.#warden, analystBounds)
      wall.deadline.disarm()
      if (isOurs) return
      wall.memoryBound = undefined
      void this.#workers.retire(wall)
    } catch {
      // The warden is lost, or the wall: a source that takes it finds out.
      wall.memoryBound = undefined
    }
  }
}
