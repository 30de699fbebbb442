import { MayflyError } from '../../contract/error.ts'
import type { SessionEnd } from '../../contract/exec.ts'
import { sessionEndedAs } from '../../contract/session-ended.ts'
import type { OpenSession } from '../../sessions/open-sessions.ts'
import type { LiveOutput } from './live-output.ts'
import type { LiveTimeline } from './live-timeline.ts'
import { FairShare } from './fair-share.ts'

/** Ended sessions whose outcome is stored for their page. */
const endedMax = 32

/** Session of one load of a page. */
export interface PageSession {
  /** Id of the token that opened it. */
  readonly visitor: string
  readonly held: OpenSession
  readonly timeline: LiveTimeline
  /** Frames of its life: `event`. */
  readonly output: LiveOutput
  /** Outcome of its life as JSON. */
  readonly ended: Promise<string>
  /** Latest end on the Clock, renewals included. */
  readonly lastAt: number
  /** Interrupts the running exec. */
  interrupt: (() => void) | undefined
}

/**
 * Sessions opened by visitors of pages; only the token that opened a session reaches it. Tokens are free for visitors,
 * so the sessions of all visitors together are bounded too, and one address may use at most half of that bound.
 */
export class PageSessions {
  readonly #places: FairShare
  readonly #open = new Map<string, PageSession>()
  readonly #ended = new Map<string, { readonly visitor: string; readonly outcome: unknown }>()

  constructor(max: number) {
    this.#places = new FairShare(max)
  }

  /**
   * Takes a slot for an address; dispose it at the end of the session. Throws MayflyError OVERLOADED, or RATE_LIMITED
   * if slots remain for other addresses.
   */
  begin(address: string): Disposable {
    const isHeld = this.#places.isHeldBy(address)
    const place = this.#places.hold(address)
    if (place.add(1)) return place
    if (isHeld)
      throw refused('RATE_LIMITED', 'this address has its share of the places for visitors')
    throw refused('OVERLOADED', 'all slots for visitors are in use')
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
   * Finds a session of this visitor. Throws MayflyError SESSION_ENDED for its own session that has ended, and the same
   * NOT_FOUND for sessions of others, evicted ones and unknown ids.
   */
  find(id: string, visitor: string): PageSession {
    const one = this.#open.get(id)
    if (one?.visitor === visitor) return one
    const ended = this.#ended.get(id)
    if (ended?.visitor !== visitor) throw new MayflyError('NOT_FOUND', 'Cannot find this session')
    throw sessionEndedAs((ended.outcome as SessionEnd | null) ?? undefined)
  }
}

function refused(code: 'OVERLOADED' | 'RATE_LIMITED', why: string): MayflyError {
  return new MayflyError(code, `Cannot open another session now: ${why}`, { retryAfterMs: 30_000 })
}
