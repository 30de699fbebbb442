import os from 'node:os'
import type { Clock, Timer } from '../contract/clock.ts'
import type { LaunchHints } from '../contract/provider.ts'

/** Idle wall waiting for a job. */
export interface Spare {
  readonly alive: boolean
  /** Memory held while idle. */
  readonly bytes: number
  /** Idempotent; resolves once all its resources are freed. */
  end(): Promise<unknown>
}

export interface SparePoolOptions<S extends Spare> {
  /** Kind of spare: provider, program, and all settings that are fixed at the start. */
  readonly key: string
  /** Digest of the image of its spares. */
  readonly image?: string | undefined
  readonly clock: Clock
  /**
   * `isAwaited`: a job waits for this start, so it skips work that only makes later steps faster. `isUrgent`: the
   * start is for a short job, or refills the reserve for short jobs.
   */
  start(isAwaited: boolean, isUrgent: boolean): Promise<S>
  /** Minimum number kept without demand, and maximum. */
  readonly least: number
  readonly most: number
  /** Fingerprint of the inputs of a spare (Node, files, filter); a change makes idle spares stale. */
  readonly fingerprint?: () => string
  readonly onEvent?: (what: SparePoolEvent) => void
  readonly onClosed?: () => void
}

export type SparePoolEvent =
  | { readonly what: 'refilled'; readonly took: number; readonly idle: number }
  | { readonly what: 'failed'; readonly reason: unknown }
  | { readonly what: 'drained'; readonly ended: number; readonly because: DrainCause }

export type DrainCause = 'idle' | 'changed' | 'pressure' | 'closed'

export interface SparePoolFacts {
  readonly key: string
  readonly idle: number
  readonly starting: number
  readonly wanted: number
  readonly hits: number
  readonly misses: number
  /** Memory of idle spares. */
  readonly bytes: number
}

/** Idle time after which the target shrinks by one, retry delay after a failed start, and check interval. */
const IDLE_MS = 60_000
const RETRY_MS = 1_000
const CHECK_MS = 5_000
/** Delay before a refill, since starting a wall takes CPU from the running job, and many jobs end sooner. */
const REFILL_AFTER_MS = 20

/** Pressure: this many misses within this time. */
const PRESSED_MISSES = 3
const PRESSED_MS = 10_000
/** Spares reserved for short jobs under pressure: two, so that one is idle while the other is replaced. */
const RESERVE = 2
/** Limit of concurrent starts for jobs that are not short: more would slow each other down, and every short job. */
const LONG_STARTS_MAX = 2 * os.availableParallelism()

/**
 * Limit of concurrent refills while less than half of the target is idle; a start mostly waits, so two overlap well.
 */
const STARTS_MAX = 2

/**
 * Pool of spares of one kind, each handed out once, with an adaptive target between `least` and `most`: a miss raises it by one, an idle minute lowers it
 * by one. Refills start one at a time (two when far behind), and are delayed so that they do not compete with the job
 * that caused them; while jobs wait for starts of their own, only the reserve is refilled.
 *
 * Under pressure (several recent misses) the last spares are reserved for jobs that are expected to be short:
 * otherwise tenants that resubmit jobs which are ended by force would take all spares. Starts for other jobs are then
 * queued.
 */
export class SparePool<S extends Spare> {
  readonly #options: SparePoolOptions<S>
  #least: number
  readonly #idle: S[] = []
  readonly #ending = new Set<Promise<unknown>>()
  readonly #starting = new Set<Promise<void>>()
  /** Refills of the reserve among `#starting`. */
  #urgent = 0
  /** Number of jobs that wait for a start, their own or one in progress. */
  #waiting = 0
  #wanted: number
  #closed = false
  #hits = 0
  #misses = 0
  /** Times of the last misses; input of `#isPressed`. */
  #missTimes: readonly number[] = []
  /** Starts in progress for jobs that are not short, and the queue of further ones. */
  #longStarts = 0
  readonly #queuedStarts: (() => void)[] = []
  /** Time of the last take, or of the last step down of the target. */
  #askedAt: number
  #fingerprint: string | undefined
  #timer: Timer | undefined
  #refillSoon: Timer | undefined

  constructor(options: SparePoolOptions<S>) {
    this.#options = options
    this.#least = options.least
    this.#wanted = options.least
    this.#askedAt = options.clock.now()
    this.#fingerprint = options.fingerprint?.()
    this.#timer = this.#checkSoon()
  }

  /** Takes an idle spare, or starts one. Throws the error of the start. Without hints a job counts as short. */
  async take({ isShort, isRare = false }: LaunchHints = { isShort: true }): Promise<{
    readonly spare: S
    readonly pool: 'hit' | 'miss'
  }> {
    const now = this.#options.clock.now()
    this.#askedAt = now
    this.#drainChanged()
    const ready = this.#pick(isShort)
    if (ready) this.#hits += 1
    else {
      this.#misses += 1
      if (!isRare) this.#raiseTarget(now)
      // A start in progress finishes before a new one would, except that an ordinary refill may take long under
      // pressure.
      const isFaster = isShort && this.#isPressed()
      if (this.#starting.size > 0 && !isFaster)
        await this.#awaited(() => Promise.race(this.#starting))
    }
    const spare =
      ready ?? this.#pick(isShort) ?? (await this.#awaited(() => this.#ownStart(isShort)))
    this.#fillSoon()
    return { spare, pool: ready ? 'hit' : 'miss' }
  }

  #raiseTarget(now: number): void {
    this.#missTimes = [...this.#missTimes, now].slice(-PRESSED_MISSES)
    this.#wanted = Math.min(this.#most, this.#wanted + 1)
  }

  async #ownStart(isShort: boolean): Promise<S> {
    if (isShort) return await this.#options.start(true, true)
    if (this.#longStarts < LONG_STARTS_MAX) this.#longStarts++
    else await new Promise<void>((resolve) => void this.#queuedStarts.push(resolve))
    try {
      return this.#pick(isShort) ?? (await this.#options.start(true, false))
    } finally {
      const next = this.#queuedStarts.shift()
      if (next) next()
      else this.#longStarts--
    }
  }

  get #most(): number {
    return Math.max(this.#options.most, this.#least)
  }

  /**
   * Sets the minimum kept without demand; starts missing spares, or ends surplus ones. Raises the maximum to it if
   * that is lower.
   */
  keep(least: number): void {
    const isLess = least < this.#least
    this.#least = least
    this.#wanted = isLess ? least : Math.max(this.#wanted, least)
    if (isLess) this.#drain(this.#idle.splice(0, Math.max(0, this.#idle.length - least)), 'changed')
    this.fill()
  }

  /** Starts missing spares in the background. */
  fill(): void {
    const idle = this.#idle
    for (let at = idle.length - 1; at >= 0; at--) if (!idle[at]!.alive) idle.splice(at, 1)
    if (this.#closed) return
    // In addition to ordinary refills, which run at low priority and may take as long as the running jobs.
    for (let lacks = this.#lacking(); lacks > 0; lacks--) this.#begin(true)
    if (this.#waiting > 0) return
    const atOnce = idle.length * 2 < this.#wanted ? STARTS_MAX : 1
    const room = Math.min(atOnce, this.#wanted - idle.length) - this.#starting.size
    for (let n = 0; n < room; n++) this.#begin(false)
  }

  /** Missing spares of the reserve under pressure, without those being started. */
  #lacking(): number {
    if (!this.#isPressed()) return 0
    return Math.min(RESERVE, this.#wanted) - this.#idle.length - this.#urgent
  }

  /** Ends idle spares, oldest first, until `bytes` are freed; all by default. */
  evict(bytes = Infinity, because: DrainCause = 'pressure'): number {
    let freed = 0
    const drained: S[] = []
    while (this.#idle.length > 0 && freed < bytes) {
      const spare = this.#idle.shift()!
      freed += spare.bytes
      drained.push(spare)
    }
    this.#wanted = this.#least
    this.#drain(drained, because)
    return freed
  }

  get facts(): SparePoolFacts {
    return {
      key: this.#options.key,
      idle: this.#idle.length,
      starting: this.#starting.size,
      wanted: this.#wanted,
      hits: this.#hits,
      misses: this.#misses,
      bytes: this.#idle.reduce((sum, spare) => sum + spare.bytes, 0),
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    this.#refillSoon?.cancel()
    this.#drain(this.#idle.splice(0), 'closed')
    await Promise.all(this.#starting)
    await Promise.all(this.#ending)
    this.#options.onClosed?.()
  }

  #checkSoon(): Timer {
    const next = this.#options.clock.after(CHECK_MS, () => this.#check())
    next.asUpkeep?.()
    return next
  }

  #check(): void {
    const { clock } = this.#options
    this.#drainChanged()
    if (this.#wanted > this.#least && clock.now() - this.#askedAt > IDLE_MS) {
      this.#wanted -= 1
      this.#askedAt = clock.now()
      this.#drain(this.#idle.splice(0, Math.max(0, this.#idle.length - this.#wanted)), 'idle')
    }
    this.fill()
    this.#timer = this.#closed ? undefined : this.#checkSoon()
  }

  /** Takes an idle spare; under pressure only a short job gets one of the last `RESERVE`. */
  #pick(isShort: boolean): S | undefined {
    if (!isShort && this.#isPressed() && this.#idle.length <= RESERVE) return undefined
    let spare = this.#idle.shift()
    while (spare && !spare.alive) spare = this.#idle.shift()
    return spare
  }

  #isPressed(): boolean {
    const [first] = this.#missTimes
    const isOften = this.#missTimes.length === PRESSED_MISSES
    return isOften && this.#options.clock.now() - first! < PRESSED_MS
  }

  #drainChanged(): void {
    const now = this.#options.fingerprint?.()
    if (now === this.#fingerprint) return
    this.#fingerprint = now
    this.#drain(this.#idle.splice(0), 'changed')
  }

  #drain(spares: readonly S[], because: DrainCause): void {
    for (const spare of spares) this.#end(spare)
    if (spares.length > 0)
      this.#options.onEvent?.({ what: 'drained', ended: spares.length, because })
  }

  #end(spare: S): void {
    const over = spare.end().catch(() => undefined)
    this.#ending.add(over)
    void over.finally(() => this.#ending.delete(over))
  }

  /** Further takes do not postpone the refill. */
  #fillSoon(): void {
    this.#refillSoon ??= this.#options.clock.after(REFILL_AFTER_MS, () => {
      this.#refillSoon = undefined
      this.fill()
    })
    this.#refillSoon.unref?.()
  }

  #begin(isUrgent: boolean): void {
    if (isUrgent) this.#urgent++
    const one: Promise<void> = this.#refill(isUrgent).then((isMade) =>
      this.#refilled(one, { isMade, isUrgent }),
    )
    this.#starting.add(one)
  }

  #refilled(
    one: Promise<void>,
    { isMade, isUrgent }: { readonly isMade: boolean; readonly isUrgent: boolean },
  ): void {
    if (isUrgent) this.#urgent--
    this.#starting.delete(one)
    if (isMade) this.fill()
    else if (!this.#closed) this.#options.clock.after(RETRY_MS, () => this.fill()).unref?.()
  }

  /** Counts the job as waiting until the promise settles. */
  async #awaited<T>(wait: () => Promise<T>): Promise<T> {
    this.#waiting++
    try {
      return await wait()
    } finally {
      this.#waiting--
    }
  }

  /** Starts a spare; resolves to false if the start failed. Never rejects. */
  async #refill(isUrgent: boolean): Promise<boolean> {
    const { clock, onEvent } = this.#options
    const began = clock.now()
    const of = this.#fingerprint
    try {
      const spare = await this.#options.start(isUrgent, isUrgent)
      if (this.#closed || of !== this.#fingerprint) {
        this.#end(spare)
        return true
      }
      this.#idle.push(spare)
      onEvent?.({ what: 'refilled', took: clock.now() - began, idle: this.#idle.length })
      return true
    } catch (reason) {
      onEvent?.({ what: 'failed', reason })
      return false
    }
  }
}
