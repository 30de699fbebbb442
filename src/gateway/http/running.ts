import { MayflyError } from '../../contract/error.ts'
import type { Clock } from '../../contract/clock.ts'
import { Fair, type Held } from './fair.ts'

/** Time that jobs which were told to end get to say so. */
const GRACE_MS = 1_000

/** One job between door and outcome. Dispose when it is answered. */
export interface Ticket extends Disposable {
  /** Aborts when the client goes away or the server stops waiting. */
  readonly signal: AbortSignal
  readonly cancel: () => void
}

/** The jobs under way at the doors: how many there may be, and how they come to an end. No tenant has all the places. */
export class Running {
  readonly #places: Fair
  readonly #bytes: Fair
  readonly #clock: Clock
  readonly #live = new Set<AbortController>()
  #draining = false
  #empty = Promise.withResolvers<void>()

  /** `bytesMax`: that all of them brought. */
  constructor(max: number, bytesMax: number, clock: Clock) {
    this.#places = new Fair(max)
    this.#bytes = new Fair(bytesMax)
    this.#clock = clock
  }

  get draining(): boolean {
    return this.#draining
  }

  get size(): number {
    return this.#live.size
  }

  /** `bytes`: what this one brings. Throws MayflyError DRAINING or OVERLOADED. */
  begin(tenant: string, bytes = 0): Ticket {
    this.refuseWhenDraining()
    const held = [this.#places.hold(tenant), this.#bytes.hold(tenant)] as const
    if (!held[0].add(1) || !held[1].add(bytes)) {
      giveBack(held)
      throw new MayflyError('OVERLOADED', 'Cannot take another job now', { retryAfterMs: 1000 })
    }
    const controller = new AbortController()
    this.#live.add(controller)
    return {
      signal: controller.signal,
      cancel: () => controller.abort(),
      [Symbol.dispose]: () => {
        giveBack(held)
        this.#end(controller)
      },
    }
  }

  refuseWhenDraining(): void {
    if (!this.#draining) return
    throw new MayflyError('DRAINING', 'Cannot take another job: this server is stopping', {
      retryAfterMs: 5000,
    })
  }

  /** Takes no more, waits `ms` for those under way, then cancels them. Returns how many were cancelled. */
  async drain(ms: number): Promise<number> {
    this.#draining = true
    if (await this.#emptyWithin(ms)) return 0
    const cut = this.#live.size
    for (const controller of this.#live) controller.abort()
    await this.#emptyWithin(GRACE_MS)
    return cut
  }

  async #emptyWithin(ms: number): Promise<boolean> {
    if (this.#live.size === 0) return true
    const late = Promise.withResolvers<void>()
    const timer = this.#clock.after(ms, late.resolve)
    await Promise.race([this.#empty.promise, late.promise])
    timer.cancel()
    return this.#live.size === 0
  }

  #end(controller: AbortController): void {
    this.#live.delete(controller)
    if (this.#live.size > 0) return
    this.#empty.resolve()
    this.#empty = Promise.withResolvers()
  }
}

function giveBack(held: readonly Held[]): void {
  for (const one of held) one[Symbol.dispose]()
}
