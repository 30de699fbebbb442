import type { Clock, Timer } from '../contract/clock.ts'

/** Idle wall waiting for a job. */
export interface Spare {
  readonly alive: boolean
  /** Memory held while idle. */
  readonly bytes: number
  /** Idempotent; resolves once nothing of it is left. */
  end(): Promise<unknown>
}

export interface SparePoolOptions<S extends Spare> {
  /** Kind: provider, program, and whatever cannot be changed after the start. */
  readonly key: string
  readonly clock: Clock
  /** `isAwaited`: a job waits, so work that only speeds up later moments can be skipped. */
  start(isAwaited: boolean): Promise<S>
  /** Minimum kept without demand, and maximum. */
  readonly least: number
  readonly most: number
  /** Fingerprint of the inputs of a spare (Node, files, filter); a change makes idle spares stale. */
  readonly fingerprint?: () => string
  readonly onEvent?: (what: SparePoolEvent) => void
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

/** Pool of spares of one kind, each handed out once. */
export interface SparePool<S extends Spare> {
  /** Takes an idle spare, or starts one. Throws what the start throws. */
  take(): Promise<{ readonly spare: S; readonly pool: 'hit' | 'miss' }>
  /** Starts missing spares in the background. */
  fill(): void
  /** Ends idle spares, oldest first, until `bytes` are freed; all by default. */
  evict(bytes?: number): number
  readonly facts: SparePoolFacts
  close(): Promise<void>
}

/** Idle time after which the target shrinks by one, retry delay after a failed start, and check interval. */
const IDLE_MS = 60_000
const RETRY_MS = 1_000
const CHECK_MS = 5_000
/** Delay before a refill, since starting a wall takes CPU from the running job; many jobs are over sooner. */
const REFILL_AFTER_MS = 20

/** Concurrent starts while less than half of the target is idle; a start mostly waits. */
const STARTS_MAX = 2

/**
 * Pool of spares with an adaptive target between `least` and `most`: a miss raises it by one, an idle minute lowers
 * it by one. Refills start one at a time (two when far behind), and are delayed so that they do not compete with the
 * job that caused them; while jobs wait for starts of their own, none begins.
 */
export function createSparePool<S extends Spare>(options: SparePoolOptions<S>): SparePool<S> {
  const { clock, least, most } = options
  const idle: S[] = []
  const ending = new Set<Promise<unknown>>()
  let wanted = least
  const starting = new Set<Promise<void>>()
  /** Starts that a job waits for. */
  let awaited = 0
  let closed = false
  let hits = 0
  let misses = 0
  let askedAt = clock.now()
  let madeOf = options.fingerprint?.()
  let timer: Timer | undefined = soon()
  let refillSoon: Timer | undefined

  function soon(): Timer {
    const next = clock.after(CHECK_MS, look)
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
    const now = options.fingerprint?.()
    if (now === madeOf) return
    madeOf = now
    drain(idle.splice(0), 'changed')
  }

  function drain(spares: readonly S[], because: DrainCause): void {
    for (const spare of spares) end(spare)
    if (spares.length > 0) options.onEvent?.({ what: 'drained', ended: spares.length, because })
  }

  function end(spare: S): void {
    const over = spare.end().catch(() => undefined)
    ending.add(over)
    void over.finally(() => ending.delete(over))
  }

  /** Not postponed by further takes. */
  function fillSoon(): void {
    refillSoon ??= clock.after(REFILL_AFTER_MS, () => {
      refillSoon = undefined
      fill()
    })
    refillSoon.unref?.()
  }

  function fill(): void {
    for (let at = idle.length - 1; at >= 0; at--) if (!idle[at]!.alive) idle.splice(at, 1)
    if (closed || awaited > 0) return
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

  async function startAwaited(): Promise<S> {
    awaited++
    try {
      return await options.start(true)
    } finally {
      awaited--
    }
  }

  /** True if a spare was started; never rejects. */
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
      options.onEvent?.({ what: 'refilled', took: clock.now() - began, idle: idle.length })
      return true
    } catch (reason) {
      options.onEvent?.({ what: 'failed', reason })
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
        // A start in progress finishes before a new one would.
        if (starting.size > 0) await Promise.race(starting)
      }
      const spare = ready ?? pick() ?? (await startAwaited())
      fillSoon()
      return { spare, pool: ready ? 'hit' : 'miss' }
    },
    fill,
    evict(bytes = Infinity) {
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
