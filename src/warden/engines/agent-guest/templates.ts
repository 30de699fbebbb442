import { MayflyError, messageOf } from '../../../contract/error.ts'

/**
 * Cache of templates by key. A template is made at its first use, and replaced when it is too old, was used too often, or is
 * broken; the least recently used one is evicted for a new key.
 *
 * All clones of a template share its kernel and process address layout (ASLR), so a layout leaked by one clone helps to attack
 * the others: age and number of uses are bounded. A template that is due stays in use while its successor is made. Making one
 * takes as long as a boot: concurrent callers wait for the same one. After a failure the key is not retried for `retryMs`, and
 * every caller gets the error.
 *
 * `close` passes intact templates to `keep`; `recall` returns them to a later process with their age and uses.
 *
 * Not handled: a template that is removed while a clone of it starts. That start fails, and the caller retries.
 */
export interface TemplatesParts<Key, Made> {
  /** Keys with equal names are equal. */
  readonly nameOf: (key: Key) => string
  /** Rejects with MayflyError, after releasing everything. */
  readonly make: (key: Key) => Promise<Made>
  /** Never rejects. */
  readonly remove: (made: Made) => Promise<void>
  /** Returns a template stored by an earlier process; called before `make`. Never rejects. */
  readonly recall?: (key: Key) => Promise<(TemplateUse & { readonly template: Made }) | undefined>
  /** Stores a template at `close`, in place of `remove`. Never rejects. */
  readonly keep?: (kept: TemplateUse & { readonly template: Made }) => Promise<void>
  /** Reason why it must not be used; called before each use, so cheap. */
  readonly whyBroken: (made: Made) => string | undefined
  /** Logs each template that is replaced, dropped or could not be made. */
  readonly note: (cause: string) => void
  /** Monotonic milliseconds. */
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
  /** Maximum number of templates; the least recently used one is evicted. */
  readonly countMax: number
  /** Milliseconds after a failure before the key is retried. */
  readonly retryMs: number
}

export const templateBounds: TemplateBounds = {
  ageMsMax: 6 * 60 * 60_000,
  usesMax: 10_000,
  countMax: 8,
  retryMs: 60_000,
}

/** Time after its last use in which a template that was used more than once counts as shared. */
export const sharedMs = 10 * 60_000

interface CacheEntry<Made> {
  current: Made | undefined
  making: Promise<Made> | undefined
  madeAt: number
  uses: number
  usedAt: number
  failed: { readonly at: number; readonly error: unknown } | undefined
}

/** Refused while all templates are being made. */
export class NoRoomForTemplate extends MayflyError {
  constructor() {
    super('OVERLOADED', 'Cannot make a template: too many are being made', { retryAfterMs: 1000 })
  }
}

export class Templates<Key, Made> {
  readonly #parts: TemplatesParts<Key, Made>
  readonly #bounds: TemplateBounds
  readonly #entries = new Map<string, CacheEntry<Made>>()
  readonly #removing = new Set<Promise<void>>()
  #isClosed = false

  constructor(parts: TemplatesParts<Key, Made>) {
    this.#parts = parts
    this.#bounds = { ...templateBounds, ...parts.bounds }
  }

  /** Returns a template for one clone. Rejects as `make` does, and with MayflyError DRAINING after `close`. */
  async use(key: Key): Promise<Made> {
    if (this.#isClosed) throw draining()
    const name = this.#parts.nameOf(key)
    const entry = this.#entryOf(name)
    entry.usedAt = this.#parts.now()
    const why = entry.current && this.#parts.whyBroken(entry.current)
    if (why) this.#giveUp(entry, why)
    const made = entry.current ?? (await this.#make(key, entry))
    entry.uses++
    const due = this.#dueFor(entry)
    if (due && !entry.making && !this.#isInRetryDelay(entry)) {
      this.#parts.note(`a template is replaced: ${due}`)
      this.#make(key, entry).catch(() => undefined)
    }
    return made
  }

  /** Drops a broken template, unless it was already replaced. */
  drop(key: Key, made: Made, cause: string): void {
    const entry = this.#entries.get(this.#parts.nameOf(key))
    if (entry?.current === made) this.#giveUp(entry, cause)
  }

  /** Waits for templates that are being made, then stores or removes all. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled([...this.#entries.values()].flatMap(({ making }) => making ?? []))
    const kept = [...this.#entries.values()].map((entry) => this.#store(entry))
    this.#entries.clear()
    await Promise.allSettled([...kept, ...this.#removing])
  }

  #entryOf(name: string): CacheEntry<Made> {
    const found = this.#entries.get(name)
    if (found) return found
    this.#evict()
    const entry: CacheEntry<Made> = {
      current: undefined,
      making: undefined,
      madeAt: 0,
      uses: 0,
      usedAt: 0,
      failed: undefined,
    }
    this.#entries.set(name, entry)
    return entry
  }

  /**
   * Evicts the least recently used template, and before it one that was used once, unless the others were not used for
   * `sharedMs`: a series of jobs that each ask for another size evicts no template that others share. Templates that are being
   * made stay, because callers wait for them.
   */
  #evict(): void {
    if (this.#entries.size < this.#bounds.countMax) return
    const idle = [...this.#entries].filter(([, { making }]) => !making)
    const now = this.#parts.now()
    const shared = ({ uses, usedAt }: CacheEntry<Made>) =>
      Number(uses > 1 && now - usedAt < sharedMs)
    const [oldest] = idle.toSorted(([, a], [, b]) => shared(a) - shared(b) || a.usedAt - b.usedAt)
    if (!oldest) throw new NoRoomForTemplate()
    this.#entries.delete(oldest[0])
    this.#removeCurrent(oldest[1])
  }

  async #make(key: Key, entry: CacheEntry<Made>): Promise<Made> {
    if (entry.making) return await entry.making
    if (entry.failed && this.#isInRetryDelay(entry)) throw entry.failed.error
    entry.making = this.#recallOrMake(key, entry)
    try {
      return await entry.making
    } catch (error) {
      entry.failed = { at: this.#parts.now(), error }
      this.#parts.note(`a template could not be made: ${messageOf(error)}`)
      throw error
    } finally {
      entry.making = undefined
    }
  }

  async #recallOrMake(key: Key, entry: CacheEntry<Made>): Promise<Made> {
    // A template that is due is replaced by a new one, never by a stored one.
    const kept = entry.current ? undefined : await this.#parts.recall?.(key)
    const made = kept?.template ?? (await this.#parts.make(key))
    this.#removeCurrent(entry)
    entry.current = made
    entry.madeAt = this.#parts.now() - (kept?.ageMs ?? 0)
    entry.uses = kept?.uses ?? 0
    entry.failed = undefined
    return made
  }

  /** Removes a template that is due or broken, and stores any other. */
  async #store(entry: CacheEntry<Made>): Promise<void> {
    const { keep, whyBroken, now } = this.#parts
    const template = entry.current
    if (template === undefined) return
    if (!keep || this.#dueFor(entry) || whyBroken(template)) return this.#removeCurrent(entry)
    entry.current = undefined
    await keep({ template, ageMs: now() - entry.madeAt, uses: entry.uses })
  }

  #isInRetryDelay({ failed }: CacheEntry<Made>): boolean {
    return failed !== undefined && this.#parts.now() - failed.at < this.#bounds.retryMs
  }

  #dueFor({ madeAt, uses }: CacheEntry<Made>): string | undefined {
    if (uses >= this.#bounds.usesMax) return `it was used ${uses} times`
    const age = this.#parts.now() - madeAt
    return age >= this.#bounds.ageMsMax
      ? `it is ${Math.round(age / 60_000)} minutes old`
      : undefined
  }

  #giveUp(entry: CacheEntry<Made>, cause: string): void {
    this.#parts.note(`a template is given up: ${cause}`)
    this.#removeCurrent(entry)
  }

  #removeCurrent(entry: CacheEntry<Made>): void {
    if (entry.current === undefined) return
    const removing = this.#parts.remove(entry.current)
    entry.current = undefined
    this.#removing.add(removing)
    void removing.catch(() => undefined).finally(() => this.#removing.delete(removing))
  }
}

function draining(): MayflyError {
  return new MayflyError('DRAINING', 'Cannot clone a machine: its engine is closing')
}
