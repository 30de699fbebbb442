import { MayflyError } from '../../contract/error.ts'
import type { Clock } from '../../contract/clock.ts'
import { FairShare, type ShareReservation } from './fair-share.ts'

/** Grace period of cancelled jobs. */
const GRACE_MS = 1_000

/** Slot of one job between request and outcome. Dispose once answered. */
export interface JobSlot extends Disposable {
  /** Aborts on client disconnect or when a drain ends. */
  readonly signal: AbortSignal
  readonly cancel: () => void
}

/** Slots of running jobs at the HTTP endpoints: bounds them fairly between tenants, and drains them. */
export class JobSlots {
  readonly #places: FairShare
  readonly #bytes: FairShare
  readonly #clock: Clock
  /** Running jobs; true for an exec, which is part of its session's job. */
  readonly #live = new Map<AbortController, boolean>()
  #draining = false
  #empty = Promise.withResolvers<void>()

  /** `bytesMax`: limit of all request bodies of running jobs. */
  constructor(max: number, bytesMax: number, clock: Clock) {
    this.#places = new FairShare(max)
    this.#bytes = new FairShare(bytesMax)
    this.#clock = clock
  }

  get draining(): boolean {
    return this.#draining
  }

  get size(): number {
    return this.#live.size
  }

  /**
   * `bytes`: size of this job's body; `isInSession`: an exec, which uses the slot of its session. Throws MayflyError DRAINING or
   * OVERLOADED.
   */
  begin(tenant: string, bytes = 0, isInSession = false): JobSlot {
    this.refuseWhenDraining()
    const held = [this.#places.hold(tenant), this.#bytes.hold(tenant)] as const
    if (!(isInSession || held[0].add(1)) || !held[1].add(bytes)) {
      release(held)
      throw new MayflyError(
        'OVERLOADED',
        'Cannot accept another job now: the server is at its limit',
        { retryAfterMs: 1000 },
      )
    }
    const controller = new AbortController()
    this.#live.set(controller, isInSession)
    return {
      signal: controller.signal,
      // Also called when a connection closes after its response; aborting an ended job would only create an exception.
      cancel: () => {
        if (this.#live.has(controller)) controller.abort()
      },
      [Symbol.dispose]: () => {
        release(held)
        this.#end(controller)
      },
    }
  }

  /** Refuses a session of a tenant that uses its share of the slots. Throws MayflyError RATE_LIMITED. */
  refuseAtShare(tenant: string): void {
    if (!this.#places.isHeldBy(tenant)) return
    throw new MayflyError(
      'RATE_LIMITED',
      'Cannot open another session: this tenant uses its share of the job slots',
      {
        hint: 'Close a session, or wait for a job to end',
        retryAfterMs: 1000,
      },
    )
  }

  refuseWhenDraining(): void {
    if (!this.#draining) return
    throw new MayflyError('DRAINING', 'Cannot accept another job: this server is stopping', {
      retryAfterMs: 5000,
    })
  }

  /** Refuses new jobs, waits `ms` for running ones, then cancels them. Returns how many: a session with its exec is one. */
  async drain(ms: number): Promise<number> {
    this.#draining = true
    if (await this.#emptyWithin(ms)) return 0
    const cut = [...this.#live.values()].filter((isInSession) => !isInSession).length
    for (const controller of this.#live.keys()) controller.abort()
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

function release(held: readonly ShareReservation[]): void {
  for (const one of held) one[Symbol.dispose]()
}
