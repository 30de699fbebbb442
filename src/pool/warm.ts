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
  start(): Promise<S>
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

/**
 * A miss says that one more would have helped, a quiet minute that one less will do: between `least` and `most` the
 * stock follows what is asked of it. One is started at a time, so that a refill takes one core at most.
 */
export function createWarm<S extends Spare>(options: WarmOptions<S>): Warm<S> {
  const { clock, least, most } = options
  const idle: S[] = []
  const ending = new Set<Promise<unknown>>()
  let wanted = least
  let starting: Promise<void> | undefined
  let closed = false
  let hits = 0
  let misses = 0
  let askedAt = clock.now()
  let madeOf = options.madeOf?.()
  let timer: Timer | undefined = soon()

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

  function fill(): void {
    for (let at = idle.length - 1; at >= 0; at--) if (!idle[at]!.alive) idle.splice(at, 1)
    if (closed || starting || idle.length >= wanted) return
    starting = refill().then(refilled)
  }

  function refilled(isMade: boolean): void {
    starting = undefined
    if (isMade) fill()
    else if (!closed) clock.after(RETRY_MS, fill).unref?.()
  }

  /** Whether one more was made; never rejects. */
  async function refill(): Promise<boolean> {
    const began = clock.now()
    const of = madeOf
    try {
      const spare = await options.start()
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
        await starting
      }
      setImmediate(fill)
      const spare = ready ?? pick() ?? (await options.start())
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
      return { key, idle: idle.length, starting: starting ? 1 : 0, wanted, hits, misses, bytes }
    },
    async close() {
      closed = true
      timer?.cancel()
      drain(idle.splice(0), 'closed')
      await starting
      await Promise.all(ending)
    },
  }
}
