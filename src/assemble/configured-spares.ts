import type { Clock, Timer } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import type { Emitter } from '../contract/event.ts'
import type { ImageLookups } from './image-lookups.ts'
import type { ProvedWalls } from './proved-walls.ts'

/** Interval at which images are looked up again: a tag may be moved, and a scan may find something, without any job. */
const LOOK_MS = 60_000

type Row = Config['spares'][number]

export interface ConfiguredSparesParts {
  readonly rows: Config['spares']
  readonly walls: Pick<ProvedWalls, 'proveNamed' | 'proved'>
  readonly images: Pick<ImageLookups, 'answer'>
  readonly clock: Clock
  readonly emitter: Emitter
}

/**
 * Walls that the configuration keeps ready. Those of an image are replaced when its tag names another one, and ended when the gate
 * refuses it.
 */
export class ConfiguredSpares {
  readonly #parts: ConfiguredSparesParts
  /** Digest of each row that is kept; undefined for files of this system. */
  readonly #kept = new Map<Row, string | undefined>()
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(parts: ConfiguredSparesParts) {
    this.#parts = parts
    if (parts.rows.length > 0) this.#look()
  }

  /** Resolves once each row is kept, or was told as unavailable. */
  get settled(): Promise<void> {
    return this.#looking
  }

  /** Waits for nothing: a proof under way may take long, and keeps nothing any more. */
  close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    return Promise.resolve()
  }

  #look(): void {
    this.#looking = this.#keepAll()
  }

  async #keepAll(): Promise<void> {
    for (const row of this.#parts.rows) if (!this.#isClosed) await this.#keep(row)
    if (this.#isClosed) return
    this.#timer = this.#parts.clock.after(LOOK_MS, () => this.#look())
    this.#timer.unref?.()
  }

  async #keep(row: Row): Promise<void> {
    const { walls, images } = this.#parts
    await walls.proveNamed(row.provider)
    const found = walls.proved.find(({ provider }) => provider.name === row.provider)
    if (!found?.availability.available)
      return this.#cannot(row, found ? 'it is not available' : 'there is no such provider')
    const { provider } = found
    if (!provider.keep) return this.#cannot(row, 'it keeps no walls ready')
    const name = row.image ?? provider.images?.[row.language]
    const answer =
      name === undefined ? undefined : await images.answer(name, row.image === undefined)
    // Closed providers would start walls again.
    if (this.#isClosed) return
    if (answer?.kind === 'refused') this.#cannot(row, answer.error.message)
    const digest = answer?.kind === 'admitted' ? answer.digest : undefined
    const before = this.#kept.get(row)
    if (before !== undefined && before !== digest) provider.keep(row.language, before, 0)
    this.#kept.delete(row)
    if (answer?.kind === 'refused') return
    this.#kept.set(row, digest)
    // Once more, also for the same digest: another of its names may have dropped its spares.
    provider.keep(row.language, digest, row.count)
  }

  #cannot({ provider, language }: Row, reason: string): void {
    this.#parts.emitter.emit('tier/unavailable', { key: `${provider}/${language}`, reason })
  }
}
