import type { Clock, Timer } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { messageOf } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { ImageLookups } from './image-lookups.ts'
import type { ProvedWalls } from './proved-walls.ts'

/** Interval between image lookups: a tag may move, or a scan may report a finding, without any job. */
const LOOKUP_MS = 60_000

type Row = Config['spares'][number]

export interface ConfiguredSparesParts {
  readonly rows: Config['spares']
  readonly walls: Pick<ProvedWalls, 'proveNamed' | 'proved'>
  readonly images: Pick<ImageLookups, 'answer'>
  readonly clock: Clock
  readonly emitter: Emitter
}

/**
 * Spares that the configuration asks for. Those of an image are replaced when its tag moves to another image, and ended
 * when the image gate refuses it.
 */
export class ConfiguredSpares {
  readonly #parts: ConfiguredSparesParts
  /** Image digest of each row with spares; undefined for the files of the host system. */
  readonly #digests = new Map<Row, string | undefined>()
  #timer: Timer | undefined
  #refreshing: Promise<void> = Promise.resolve()
  #isClosed = false

  constructor(parts: ConfiguredSparesParts) {
    this.#parts = parts
    if (parts.rows.length > 0) this.#refresh()
  }

  /** Resolves once each row has its spares, or was reported as unavailable. */
  get settled(): Promise<void> {
    return this.#refreshing
  }

  /** Does not wait for a proof under way, which may take long: once closed, its row gets no spares. */
  close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    return Promise.resolve()
  }

  #refresh(): void {
    this.#refreshing = this.#keepAll()
  }

  async #keepAll(): Promise<void> {
    for (const row of this.#parts.rows) if (!this.#isClosed) await this.#tryKeep(row)
    if (this.#isClosed) return
    this.#timer = this.#parts.clock.after(LOOKUP_MS, () => this.#refresh())
    this.#timer.unref?.()
  }

  /** Reports an error of a look, which nobody awaits, and the next look tries again. */
  async #tryKeep(row: Row): Promise<void> {
    try {
      await this.#keep(row)
    } catch (error) {
      this.#unavailable(row, messageOf(error))
    }
  }

  async #keep(row: Row): Promise<void> {
    const { walls, images } = this.#parts
    await walls.proveNamed(row.provider)
    const found = walls.proved.find(({ provider }) => provider.name === row.provider)
    if (!found?.availability.available)
      return this.#unavailable(row, found ? 'it is not available' : 'there is no such provider')
    const { provider } = found
    if (!provider.keep) return this.#unavailable(row, 'it keeps no walls ready')
    const name = row.image ?? provider.images?.[row.language]
    const answer =
      name === undefined ? undefined : await images.answer(name, row.image === undefined)
    // A call of `keep` now would make a closed provider start walls again.
    if (this.#isClosed) return
    if (answer?.kind === 'refused') this.#unavailable(row, answer.error.message)
    const digest = answer?.kind === 'admitted' ? answer.digest : undefined
    const before = this.#digests.get(row)
    if (before !== undefined && before !== digest) provider.keep(row.language, before, 0)
    this.#digests.delete(row)
    if (answer?.kind === 'refused') return
    this.#digests.set(row, digest)
    // Repeated for an unchanged digest: its spares may have been dropped because of another name of the same image.
    provider.keep(row.language, digest, row.count)
  }

  #unavailable({ provider, language }: Row, reason: string): void {
    this.#parts.emitter.emit('tier/unavailable', { key: `${provider}/${language}`, reason })
  }
}
