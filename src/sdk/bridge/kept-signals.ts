export interface KeptSignalsParts {
  readonly nextNumber: () => number
  readonly aborted: (id: number, reason: unknown) => void
  readonly collected: (id: number) => void
}

/**
 * Signals of this side that the other one may use after the call that passed them: the signal of `open` ends a session
 * whenever it aborts.
 *
 * Mechanism: a signal has one number, however often it is passed, so one that lives as long as the application costs a
 * single listener. It is forgotten on both sides once it has aborted, or is collected, after which it can no longer abort.
 */
export class KeptSignals {
  readonly #parts: KeptSignalsParts
  readonly #numbers = new WeakMap<AbortSignal, number>()
  readonly #signals = new Map<number, WeakRef<AbortSignal>>()
  readonly #registry = new FinalizationRegistry<number>((id) => {
    if (this.#signals.delete(id)) this.#parts.collected(id)
  })
  /** Shared by all signals, because a closure of one would keep it alive. */
  readonly #abort = ({ target }: Event): void => {
    const signal = target as AbortSignal
    const id = this.#numbers.get(signal)
    if (id !== undefined && this.#signals.delete(id)) this.#parts.aborted(id, signal.reason)
  }

  constructor(parts: KeptSignalsParts) {
    this.#parts = parts
  }

  /** Number of a signal that has not aborted yet. */
  numberOf(signal: AbortSignal): number {
    const known = this.#numbers.get(signal)
    if (known !== undefined) return known
    const id = this.#parts.nextNumber()
    this.#numbers.set(signal, id)
    this.#signals.set(id, new WeakRef(signal))
    this.#registry.register(signal, id)
    signal.addEventListener('abort', this.#abort, { once: true })
    return id
  }

  /** Removes all listeners. */
  close(): void {
    for (const signal of this.#signals.values())
      signal.deref()?.removeEventListener('abort', this.#abort)
    this.#signals.clear()
  }
}
