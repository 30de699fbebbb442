import type { Clock, Timer } from '../contract/clock.ts'

/** One wall that waits for a job; what it is, only whoever starts it knows. */
export interface Spare {
  readonly alive: boolean
  /** What it holds of the machine's memory while it waits, in bytes. */
  readonly bytes: number
  /** Idempotent; resolves when nothing of it is left. */
  end(): Promise<unknown>
}

export interface WarmOptions<S extends Spare> {
  /** What its spares are: provider, program and what of them cannot be changed later. */
  readonly key: string
  readonly clock: Clock
  /** One that a job waits for needs nothing that only makes the next moment faster. */
  start(isAwaited: boolean): Promise<S>
  /** How many are kept while nobody asks, and the most that are ever kept. */
  readonly least: number
  readonly most: number
  /** Changes when spares are made of something else than those that wait: a new Node, new files, a new filter. */
  readonly madeOf?: () => string
  readonly told?: (what: WarmEvent) => void
}

export type WarmEvent =
  | { readonly what: 'refilled'; readonly took: number; readonly idle: number }
  | { readonly what: 'failed'; readonly reason: unknown }
  | { readonly what: 'drained'; readonly ended: number; readonly because: DrainCause }

export type DrainCause = 'idle' | 'changed' | 'pressure' | 'closed'

export interface WarmFacts {
  readonly key: string
  readonly idle: number
  readonly starting: number
  readonly wanted: number
  readonly hits: number
  readonly misses: number
  /** Of those that wait. */
  readonly bytes: number
}

/** Spares of one kind, made ahead, each handed out once. */
export interface Warm<S extends Spare> {
  /** One that waits, or else one made now. Throws what starting one throws. */
  take(): Promise<{ readonly spare: S; readonly pool: 'hit' | 'miss' }>
  /** Makes what is wanted, off everybody's path. */
  fill(): void
  /** Gives up what waits, oldest first, until `bytes` are free; all of it unless given. */
  giveUp(bytes?: number): number
  readonly facts: WarmFacts
  close(): Promise<void>
}

/** Unasked for as long, one spare less is kept; as long after a start that failed, the next is tried. */
const IDLE_MS = 60_000
const RETRY_MS = 1_000
const LOOK_MS = 5_000
/** What a start takes is taken from whoever runs: a job that is over in a moment is over before it begins. */
const REFILL_AFTER_MS = 20

/** So many are started at once where less than half of what is wanted is there: a start waits more than it works. */
const STARTS_MAX = 2

/**
 * A miss says that one more would have helped, a quiet minute that one less will do: between `least` and `most` the
 * stock follows what is asked of it. One is started at a time, so that a refill takes one core at most (two where it
 * falls behind), and not while the job that made it necessary has just begun.
 */
export function createWarm<S extends Spare>(options: WarmOptions<S>): Warm<S> {
  const { clock, least, most } = options
  const idle: S[] = []
  const ending = new Set<Promise<unknown>>()
  let wanted = least
  const starting = new Set<Promise<void>>()
  let closed = false
  let hits = 0
  let misses = 0
  let askedAt = clock.now()
  let madeOf = options.madeOf?.()
  let timer: Timer | undefined = soon()
  let refillSoon: Timer | undefined

  function soon(): Timer {
    const next = clock.after(LOOK_MS, look)
    next.unref?.()
    return next
  }

  function look(): void {
    drainChanged()
    if (wanted > least && clock.now() - askedAt > IDLE_MS) {
      wanted -= 1
      askedAt = clock.now()
      drain(idle.splice(0, Math.max(0, idle.length - wanted)), 'idle')
    }
    fill()
    timer = closed ? undefined : soon()
  }

  function pick(): S | undefined {
    let spare = idle.shift()
    while (spare && !spare.alive) spare = idle.shift()
    return spare
  }

  function drainChanged(): void {
    const now = options.madeOf?.()
    if (now === madeOf) return
    madeOf = now
    drain(idle.splice(0), 'changed')
  }

  function drain(spares: readonly S[], because: DrainCause): void {
    for (const spare of spares) end(spare)
    if (spares.length > 0) options.told?.({ what: 'drained', ended: spares.length, because })
  }

  function end(spare: S): void {
    const over = spare.end().catch(() => undefined)
    ending.add(over)
    void over.finally(() => ending.delete(over))
  }

  /** Not put off by whoever takes another meanwhile. */
  function fillSoon(): void {
    refillSoon ??= clock.after(REFILL_AFTER_MS, () => {
      refillSoon = undefined
      fill()
    })
    refillSoon.unref?.()
  }

  function fill(): void {
    for (let at = idle.length - 1; at >= 0; at--) if (!idle[at]!.alive) idle.splice(at, 1)
    if (closed) return
    const atOnce = idle.length * 2 < wanted ? STARTS_MAX : 1
    const room = Math.min(atOnce, wanted - idle.length) - starting.size
    for (let n = 0; n < room; n++) begin()
  }

  function begin(): void {
    const one: Promise<void> = refill().then((isMade) => refilled(one, isMade))
    starting.add(one)
  }

  function refilled(one: Promise<void>, isMade: boolean): void {
    starting.delete(one)
    if (isMade) fill()
    else if (!closed) clock.after(RETRY_MS, fill).unref?.()
  }

  /** Whether one more was made; never rejects. */
  async function refill(): Promise<boolean> {
    const began = clock.now()
    const of = madeOf
    try {
      const spare = await options.start(false)
      if (closed || of !== madeOf) {
        end(spare)
        return true
      }
      idle.push(spare)
      options.told?.({ what: 'refilled', took: clock.now() - began, idle: idle.length })
      return true
    } catch (reason) {
      options.told?.({ what: 'failed', reason })
      return false
    }
  }

  return {
    async take() {
      askedAt = clock.now()
      drainChanged()
      const ready = pick()
      if (ready) hits += 1
      else {
        misses += 1
        wanted = Math.min(most, wanted + 1)
        // One that is nearly there is there before another would be.
        if (starting.size > 0) await Promise.race(starting)
      }
      const spare = ready ?? pick() ?? (await options.start(true))
      fillSoon()
      return { spare, pool: ready ? 'hit' : 'miss' }
    },
    fill,
    giveUp(bytes = Infinity) {
      let freed = 0
      const given: S[] = []
      while (idle.length > 0 && freed < bytes) {
        const spare = idle.shift()!
        freed += spare.bytes
        given.push(spare)
      }
      wanted = least
      drain(given, 'pressure')
      return freed
    },
    get facts() {
      const bytes = idle.reduce((sum, spare) => sum + spare.bytes, 0)
      const { key } = options
      return { key, idle: idle.length, starting: starting.size, wanted, hits, misses, bytes }
    },
    async close() {
      closed = true
      timer?.cancel()
      refillSoon?.cancel()
      drain(idle.splice(0), 'closed')
      await Promise.all(starting)
      await Promise.all(ending)
    },
  }
}
