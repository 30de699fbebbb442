import { closeSync } from 'node:fs'
import { isThere, type FoundSentinel, type SentinelProgram } from '../jail/sentinel.ts'
import type { SentinelState } from '../contract/warden.ts'

/**
 * Where walls get their sentinel's program from. What fails may have failed by chance (a full disk, no memory for a
 * compiler), so it is tried again, and never so often that walls have one now and none then: the first time after
 * seconds, each time after twice as long, and by one wall alone. The others go without meanwhile, and say so.
 */
export interface SourceParts {
  readonly make: () => Promise<FoundSentinel>
  /** Hears when walls begin to go without, and when they have one again. */
  readonly tell: (told: SentinelState) => void
  /** Milliseconds. */
  readonly now?: () => number
}

export const retryMsMin = 5_000
export const retryMsMax = 600_000
/** A wall that tried it and was not started, for a reason of its own, has shown nothing: another tries it then. */
export const trialMsMax = 30_000
/** It held for so long that the next failure is a first one. */
export const calmMs = 600_000

type State =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'on'; readonly since: number }
  | { readonly kind: 'off'; readonly why: string; readonly until: number }
  /** Made again; whether walls can use it, one of them finds out. */
  | { readonly kind: 'doubtful'; readonly why: string; readonly triedAt: number }

export class SentinelSource {
  readonly #parts: SourceParts
  readonly #now: () => number
  #state: State = { kind: 'unknown' }
  #program: SentinelProgram | undefined
  #making: Promise<FoundSentinel> | undefined
  #retryMs = retryMsMin
  #closed = false

  constructor(parts: SourceParts) {
    this.#parts = parts
    this.#now = parts.now ?? (() => performance.now())
  }

  /** For one wall: the program, or why it goes without. Waits for it to be made where it never failed. */
  async take(): Promise<FoundSentinel> {
    const state = this.#state
    if (state.kind === 'off') return this.#without(state)
    if (state.kind === 'doubtful') return this.#forTrial(state)
    const found = await this.#find()
    // Somebody else may have come to know more meanwhile.
    if (this.#state !== state && this.#state.kind !== 'on') return this.take()
    if ('missing' in found) this.#fail(found.missing)
    else if (state.kind === 'unknown') this.#state = { kind: 'on', since: this.#now() }
    return found
  }

  /** A wall with this program is there. */
  confirm(program: SentinelProgram): void {
    if (program !== this.#program || this.#state.kind !== 'doubtful') return
    this.#state = { kind: 'on', since: this.#now() }
    this.#parts.tell({ isOn: true, why: '' })
  }

  /** A wall with this program could not be started, because of it. */
  refuse(program: SentinelProgram, why: string): void {
    if (program === this.#program && this.#state.kind !== 'off') this.#fail(why)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#making?.catch(() => undefined)
    if (this.#program) closeSync(this.#program.fd)
    this.#program = undefined
  }

  #without({ why, until }: Extract<State, { kind: 'off' }>): FoundSentinel {
    if (this.#now() >= until && !this.#making && !this.#closed) void this.#again(why)
    return { missing: why }
  }

  async #again(why: string): Promise<void> {
    const found = await this.#find()
    if ('missing' in found) this.#fail(found.missing)
    else this.#state = { kind: 'doubtful', why, triedAt: -Infinity }
  }

  #forTrial(state: Extract<State, { kind: 'doubtful' }>): FoundSentinel {
    const isTried = this.#now() - state.triedAt < trialMsMax
    if (isTried || !this.#program) return { missing: state.why }
    if (!isThere(this.#program)) return this.#without({ kind: 'off', why: state.why, until: 0 })
    this.#state = { ...state, triedAt: this.#now() }
    return this.#program
  }

  /** It may be gone, for a cache may be cleared. Whoever was given the old one may still read it: that stays open. */
  async #find(): Promise<FoundSentinel> {
    if (this.#program && isThere(this.#program)) return this.#program
    this.#making ??= this.#make()
    return await this.#making
  }

  async #make(): Promise<FoundSentinel> {
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
    if (isCalm) this.#retryMs = retryMsMin
    const retryMs = this.#retryMs
    this.#state = { kind: 'off', why, until: this.#now() + retryMs }
    this.#retryMs = Math.min(retryMsMax, retryMs * 2)
    if (isNews) this.#parts.tell({ isOn: false, why, retryMs })
  }
}
