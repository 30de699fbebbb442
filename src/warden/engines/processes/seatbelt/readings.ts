import { attempt } from '../../../../lib/attempt.ts'
import { readProcesses, type ProcessReading } from '../../../../os/ps.ts'

/**
 * Last reading of each wall's process, taken for all of them by one ps(1) every 200 ms while there is a wall. A limit may so be
 * passed for that long, and on a busy machine for longer.
 */
const EVERY_MS = 200
/** Age of a reading above which a wall counts as unwatched: its sample then throws, and the warden ends it. */
const AGE_MS_MAX = 10_000

/** A reading, with the time on the monotonic clock by which it was there. */
export interface TimedReading extends ProcessReading {
  readonly atMs: number
}

export class Readings {
  readonly #last = new Map<number, TimedReading | undefined>()
  #timer: NodeJS.Timeout | undefined
  #reading: Promise<void> | undefined

  /** Watches a process until `forget`, and reads it. Rejects with Error where it cannot be read. */
  async watch(pid: number): Promise<TimedReading> {
    this.#last.set(pid, undefined)
    this.#timer ??= setInterval(() => void this.#readAll().catch(() => undefined), EVERY_MS)
    return await this.fresh(pid)
  }

  forget(pid: number): void {
    this.#last.delete(pid)
    if (this.#last.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** A reading that is taken from now on. Rejects with Error where the process is gone, or ps fails. */
  async fresh(pid: number): Promise<TimedReading> {
    await this.#reading?.catch(() => undefined)
    await this.#readAll()
    return this.last(pid)
  }

  /** Throws Error where there is none, or only an old one. */
  last(pid: number): TimedReading {
    const found = this.#last.get(pid)
    if (found && performance.now() - found.atMs < AGE_MS_MAX) return found
    throw new Error(`ps has read nothing of process ${pid} for ${AGE_MS_MAX / 1000} s`)
  }

  /** The last reading, of any age; undefined if there was none. */
  lastIfAny(pid: number): TimedReading | undefined {
    return attempt(() => this.last(pid)) ?? this.#last.get(pid)
  }

  /** Reads do not overlap, also if one takes longer than the interval. */
  async #readAll(): Promise<void> {
    this.#reading ??= this.#read().finally(() => (this.#reading = undefined))
    await this.#reading
  }

  async #read(): Promise<void> {
    const pids = [...this.#last.keys()]
    if (pids.length === 0) return
    const atMs = performance.now()
    for (const one of await readProcesses(pids))
      if (this.#last.has(one.pid)) this.#last.set(one.pid, { ...one, atMs })
  }
}
