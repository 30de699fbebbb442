import { MayflyError } from '../../contract/error.ts'
import type { HeldSession } from '../../sessions/open-sessions.ts'
import type { LiveOutput } from './live-output.ts'
import type { LiveTimeline } from './live-timeline.ts'

/** Ended sessions whose outcome is stored for their page. */
const endedMax = 32

/** Session of one load of a page. */
export interface PageSession {
  /** Id of the token that opened it. */
  readonly visitor: string
  readonly held: HeldSession
  readonly timeline: LiveTimeline
  /** Frames of its life: `event`. */
  readonly output: LiveOutput
  /** Outcome of its life as JSON. */
  readonly ended: Promise<string>
  /** On the clock: its end, renewals included. */
  readonly lastAt: number
  /** Interrupts the exec that runs. */
  interrupt: (() => void) | undefined
}

/**
 * Sessions that visitors of pages opened, each reached by the token that opened it alone. A token costs a visitor nothing,
 * so all of them together have a bound as well as each.
 */
export class PageSessions {
  readonly #max: number
  readonly #open = new Map<string, PageSession>()
  readonly #ended = new Map<string, { readonly visitor: string; readonly outcome: unknown }>()
  #places = 0

  constructor(max: number) {
    this.#max = max
  }

  /** Takes a place; dispose it at the end of the session. Throws MayflyError OVERLOADED. */
  begin(): Disposable {
    if (this.#places >= this.#max)
      throw new MayflyError(
        'OVERLOADED',
        'Cannot open another session now: all places for visitors are taken',
        { retryAfterMs: 30_000 },
      )
    this.#places += 1
    let isHeld = true
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#places -= 1
        isHeld = false
      },
    }
  }

  add(one: PageSession): void {
    this.#open.set(one.held.session.id, one)
  }

  /** Stores the outcome for a while; undefined if there is none. */
  end(id: string, outcome: unknown): void {
    const one = this.#open.get(id)
    this.#open.delete(id)
    if (!one) return
    this.#ended.set(id, { visitor: one.visitor, outcome: outcome ?? null })
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > endedMax && oldest !== undefined) this.#ended.delete(oldest)
  }

  /**
   * Finds a session of this visitor. Throws MayflyError SESSION_ENDED for one of its own that has ended, and the same
   * NOT_FOUND for that of another, a forgotten and an unknown one.
   */
  find(id: string, visitor: string): PageSession {
    const one = this.#open.get(id)
    if (one?.visitor === visitor) return one
    const ended = this.#ended.get(id)
    if (ended?.visitor !== visitor) throw new MayflyError('NOT_FOUND', 'Cannot find this session')
    throw new MayflyError('SESSION_ENDED', 'Cannot use this session: it has ended', {
      details: { outcome: ended.outcome },
    })
  }
}
