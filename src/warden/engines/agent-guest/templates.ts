import { MayflyError, messageOf } from '../../../contract/error.ts'

/**
 * Templates by their keys: each is made once, when it is first asked for, and used until it is too old, was used too often, is
 * found broken, or another key needs its place.
 *
 * All clones of a template have the layout of its kernel and of its processes, so a layout that leaks from one is of use in
 * the others: age and number of uses are bounded. The one that is due goes on being used while its successor is
 * made. Making takes as long as a boot: those that ask meanwhile wait for the one that is under way. One that cannot be made
 * is not tried again for a while, and the cause is told to each that asks.
 *
 * A close gives those that are whole to `keep`, and one that was kept comes back by `recall` with its age and its uses.
 *
 * Does not handle: a template that is removed while a clone of it starts. That start fails, and asks again.
 */
export interface TemplatesParts<Key, Made> {
  /** Two keys with one name are the same. */
  readonly nameOf: (key: Key) => string
  /** Rejects with MayflyError, with nothing left. */
  readonly make: (key: Key) => Promise<Made>
  /** Never rejects. */
  readonly remove: (made: Made) => Promise<void>
  /** Template that an earlier process kept; asked before `make`. Never rejects. */
  readonly recall?: (key: Key) => Promise<(TemplateUse & { readonly template: Made }) | undefined>
  /** StartingGuests over one at the close, in place of `remove`. Never rejects. */
  readonly keep?: (kept: TemplateUse & { readonly template: Made }) => Promise<void>
  /** Cause for which it may not be used; cheap. */
  readonly whyBroken: (made: Made) => string | undefined
  /** Told with each one that is replaced or given up, and with each that could not be made. */
  readonly note: (cause: string) => void
  /** Milliseconds, rising. */
  readonly now: () => number
  readonly bounds?: Partial<TemplateBounds>
}

export interface TemplateUse {
  readonly ageMs: number
  readonly uses: number
}

export interface TemplateBounds {
  readonly ageMsMax: number
  readonly usesMax: number
  /** Templates at once; the one that was used the longest ago goes first. */
  readonly countMax: number
  /** Milliseconds until one that could not be made is tried again. */
  readonly retryMs: number
}

export const templateBounds: TemplateBounds = {
  ageMsMax: 6 * 60 * 60_000,
  usesMax: 10_000,
  countMax: 8,
  retryMs: 60_000,
}

interface Shelf<Made> {
  current: Made | undefined
  making: Promise<Made> | undefined
  madeAt: number
  uses: number
  usedAt: number
  failed: { readonly at: number; readonly error: unknown } | undefined
}

export class Templates<Key, Made> {
  readonly #parts: TemplatesParts<Key, Made>
  readonly #bounds: TemplateBounds
  readonly #shelves = new Map<string, Shelf<Made>>()
  readonly #removing = new Set<Promise<void>>()
  #isClosed = false

  constructor(parts: TemplatesParts<Key, Made>) {
    this.#parts = parts
    this.#bounds = { ...templateBounds, ...parts.bounds }
  }

  /** A template for one clone. Rejects as `make` does, and with MayflyError DRAINING after `close`. */
  async use(key: Key): Promise<Made> {
    if (this.#isClosed) throw draining()
    const name = this.#parts.nameOf(key)
    const shelf = this.#shelfOf(name)
    shelf.usedAt = this.#parts.now()
    const why = shelf.current && this.#parts.whyBroken(shelf.current)
    if (why) this.#giveUp(shelf, why)
    const made = shelf.current ?? (await this.#make(key, shelf))
    shelf.uses++
    const due = this.#dueFor(shelf)
    if (due && !shelf.making && !this.#isResting(shelf)) {
      this.#parts.note(`a template is replaced: ${due}`)
      this.#make(key, shelf).catch(() => undefined)
    }
    return made
  }

  /** Gives up one that was found broken, unless it was replaced meanwhile. */
  drop(key: Key, made: Made, cause: string): void {
    const shelf = this.#shelves.get(this.#parts.nameOf(key))
    if (shelf?.current === made) this.#giveUp(shelf, cause)
  }

  /** Waits for those that are being made, and removes all. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled([...this.#shelves.values()].flatMap(({ making }) => making ?? []))
    const kept = [...this.#shelves.values()].map((shelf) => this.#putAway(shelf))
    this.#shelves.clear()
    await Promise.all([...kept, ...this.#removing])
  }

  #shelfOf(name: string): Shelf<Made> {
    const found = this.#shelves.get(name)
    if (found) return found
    this.#makeRoom()
    const shelf: Shelf<Made> = {
      current: undefined,
      making: undefined,
      madeAt: 0,
      uses: 0,
      usedAt: 0,
      failed: undefined,
    }
    this.#shelves.set(name, shelf)
    return shelf
  }

  /** Templates that are being made have takers that wait, and stay. */
  #makeRoom(): void {
    if (this.#shelves.size < this.#bounds.countMax) return
    const idle = [...this.#shelves].filter(([, { making }]) => !making)
    const [oldest] = idle.toSorted(([, a], [, b]) => a.usedAt - b.usedAt)
    if (!oldest)
      throw new MayflyError('OVERLOADED', 'Cannot make a template: too many are being made')
    this.#shelves.delete(oldest[0])
    this.#removeCurrent(oldest[1])
  }

  async #make(key: Key, shelf: Shelf<Made>): Promise<Made> {
    if (shelf.making) return await shelf.making
    if (shelf.failed && this.#isResting(shelf)) throw shelf.failed.error
    shelf.making = this.#recallOrMake(key, shelf)
    try {
      return await shelf.making
    } catch (error) {
      shelf.failed = { at: this.#parts.now(), error }
      this.#parts.note(`a template could not be made: ${messageOf(error)}`)
      throw error
    } finally {
      shelf.making = undefined
    }
  }

  async #recallOrMake(key: Key, shelf: Shelf<Made>): Promise<Made> {
    // The successor of one that is due is always new.
    const kept = shelf.current ? undefined : await this.#parts.recall?.(key)
    const made = kept?.template ?? (await this.#parts.make(key))
    this.#removeCurrent(shelf)
    shelf.current = made
    shelf.madeAt = this.#parts.now() - (kept?.ageMs ?? 0)
    shelf.uses = kept?.uses ?? 0
    shelf.failed = undefined
    return made
  }

  /** Removes a template that is due or broken, and keeps another. */
  async #putAway(shelf: Shelf<Made>): Promise<void> {
    const { keep, whyBroken, now } = this.#parts
    const template = shelf.current
    if (template === undefined) return
    if (!keep || this.#dueFor(shelf) || whyBroken(template)) return this.#removeCurrent(shelf)
    shelf.current = undefined
    await keep({ template, ageMs: now() - shelf.madeAt, uses: shelf.uses })
  }

  #isResting({ failed }: Shelf<Made>): boolean {
    return failed !== undefined && this.#parts.now() - failed.at < this.#bounds.retryMs
  }

  #dueFor({ madeAt, uses }: Shelf<Made>): string | undefined {
    if (uses >= this.#bounds.usesMax) return `it was used ${uses} times`
    const age = this.#parts.now() - madeAt
    return age >= this.#bounds.ageMsMax
      ? `it is ${Math.round(age / 60_000)} minutes old`
      : undefined
  }

  #giveUp(shelf: Shelf<Made>, cause: string): void {
    this.#parts.note(`a template is given up: ${cause}`)
    this.#removeCurrent(shelf)
  }

  #removeCurrent(shelf: Shelf<Made>): void {
    if (shelf.current === undefined) return
    const removing = this.#parts.remove(shelf.current)
    shelf.current = undefined
    this.#removing.add(removing)
    void removing.finally(() => this.#removing.delete(removing))
  }
}

function draining(): MayflyError {
  return new MayflyError('DRAINING', 'Cannot clone a machine: its engine is closing')
}
