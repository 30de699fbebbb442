import { closeSync } from 'node:fs'
import { isThere, type CProgram, type CProgramLookup } from '../../../jail/c-program.ts'
import type { SentinelState } from '../../../contract/warden.ts'

/**
 * Source of the sentinel's program. A failure may be transient (a full disk, no memory for a compiler), so it is
 * retried with exponential back-off, by a single wall first, so that walls do not flap between having a sentinel and
 * having none. All others start without one until then, and report it.
 */
export interface SourceParts {
  readonly make: () => Promise<CProgramLookup>
  /** Called when walls begin to start without a sentinel, and when sentinels are available again. */
  readonly report: (state: SentinelState) => void
  /** Milliseconds. */
  readonly now?: () => number
}

export const compileRetryMsMin = 5_000
export const compileRetryMsMax = 600_000
/**
 * Time after which a trial without a result is inconclusive (its wall failed to start for another reason): the next
 * wall tries.
 */
export const trialMsMax = 30_000
/** Time without a failure after which the back-off starts over. */
export const calmMs = 600_000

type State =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'on'; readonly since: number }
  | { readonly kind: 'off'; readonly why: string; readonly until: number }
  /** Compiled again; a single wall tries it before the others get it. */
  | { readonly kind: 'doubtful'; readonly why: string; readonly triedAt: number }

export class SentinelSource {
  readonly #parts: SourceParts
  readonly #now: () => number
  #state: State = { kind: 'unknown' }
  #program: CProgram | undefined
  #making: Promise<CProgramLookup> | undefined
  #retryMs = compileRetryMsMin
  #closed = false

  constructor(parts: SourceParts) {
    this.#parts = parts
    this.#now = parts.now ?? (() => performance.now())
  }

  /** For one wall: the program, or the cause of its absence. Waits for the compiler unless it has failed before. */
  async take(): Promise<CProgramLookup> {
    const state = this.#state
    if (state.kind === 'off') return this.#without(state)
    if (state.kind === 'doubtful') return this.#forTrial(state)
    const found = await this.#find()
    // A concurrent start may have changed the state.
    if (this.#state !== state && this.#state.kind !== 'on') return this.take()
    if ('missing' in found) this.#fail(found.missing)
    else if (state.kind === 'unknown') this.#state = { kind: 'on', since: this.#now() }
    return found
  }

  /** Confirms the program: a wall with it has started. */
  confirm(program: CProgram): void {
    if (program !== this.#program || this.#state.kind !== 'doubtful') return
    this.#state = { kind: 'on', since: this.#now() }
    this.#parts.report({ isOn: true, why: '' })
  }

  /** Refuses the program: a wall could not be started because of it. */
  refuse(program: CProgram, why: string): void {
    if (program === this.#program && this.#state.kind !== 'off') this.#fail(why)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#making?.catch(() => undefined)
    if (this.#program) closeSync(this.#program.fd)
    this.#program = undefined
  }

  #without({ why, until }: Extract<State, { kind: 'off' }>): CProgramLookup {
    if (this.#now() >= until && !this.#making && !this.#closed) void this.#again(why)
    return { missing: why }
  }

  async #again(why: string): Promise<void> {
    const found = await this.#find()
    if ('missing' in found) this.#fail(found.missing)
    else this.#state = { kind: 'doubtful', why, triedAt: -Infinity }
  }

  #forTrial(state: Extract<State, { kind: 'doubtful' }>): CProgramLookup {
    const isTried = this.#now() - state.triedAt < trialMsMax
    if (isTried || !this.#program) return { missing: state.why }
    if (!isThere(this.#program)) return this.#without({ kind: 'off', why: state.why, until: 0 })
    this.#state = { ...state, triedAt: this.#now() }
    return this.#program
  }

  /** The cache may have been cleared. The old descriptor stays open: a wall that is starting may still read it. */
  async #find(): Promise<CProgramLookup> {
    if (this.#program && isThere(this.#program)) return this.#program
    this.#making ??= this.#make()
    return await this.#making
  }

  async #make(): Promise<CProgramLookup> {
    try {
      const found = await this.#parts.make()
      if ('fd' in found) this.#program = found
      return found
    } finally {
      this.#making = undefined
    }
  }

  #fail(why: string): void {
    const isNews = this.#state.kind === 'unknown' || this.#state.kind === 'on'
    const isCalm = this.#state.kind === 'on' && this.#now() - this.#state.since >= calmMs
    if (isCalm) this.#retryMs = compileRetryMsMin
    const retryMs = this.#retryMs
    this.#state = { kind: 'off', why, until: this.#now() + retryMs }
    this.#retryMs = Math.min(compileRetryMsMax, retryMs * 2)
    if (isNews) this.#parts.report({ isOn: false, why, retryMs })
  }
}
