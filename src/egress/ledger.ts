import type { Emitter } from '../contract/event.ts'
import { Account } from './account.ts'
import { Sum, type Budget, type Direction, type Moved } from './budget.ts'
import type { Caller } from './callers.ts'
import { Entry, type Ruling, type Told } from './entry.ts'
import type { EgressRequest } from './rules.ts'
import type { LoopLimiter } from '../lib/loop-limiter.ts'

/** One attempt to get out, as `metrics.network` of the outcome has it. */
export interface Attempt {
  /** Empty where what was asked could not be read. */
  readonly host: string
  readonly port: number
  readonly verdict: 'allowed' | 'denied'
  readonly sent: number
  readonly received: number
  readonly because: string
}

/** More than that is no longer told one by one; it is refused. */
export const attemptsMax = 4096

export interface LedgerParts {
  readonly voice: Emitter
  readonly run: string | null
  /** Which zone of its program it is. */
  readonly zone?: string | undefined
  /** Where the other walls of the run are counted as well. */
  readonly account?: Account | undefined
  /** Told when less may move than before, also by another wall of the run. */
  readonly narrowed?: () => void
}

/** What got out of one wall of a run, and what was not let out. Its proxy and its brokered requests share one. */
export class Ledger {
  #budget: Budget
  readonly #voice: Emitter
  readonly #about: { readonly run: string | null; readonly zone?: string; readonly actor: string }
  readonly #account: Account
  readonly #entries: Entry[] = []
  readonly #asked = new Set<Asked>()
  #looks = 0
  #isOver = false
  readonly #sum = new Sum()
  /** What it may move bounds nobody else from then on. */
  readonly close: () => void

  constructor(budget: Budget, parts: LedgerParts) {
    const { voice, run, zone, account = new Account(), narrowed = () => undefined } = parts
    this.#budget = budget
    this.#voice = voice
    this.#about = { run, ...(zone !== undefined && { zone }), actor: 'egress' }
    this.#account = account
    this.close = account.open({ budget: () => this.#budget, narrowed })
  }

  get attempts(): readonly Attempt[] {
    for (const entry of this.#entries) entry.count()
    return this.#entries.map(({ request, verdict, because, sent, received }) => ({
      host: request.host,
      port: request.port,
      verdict,
      sent,
      received,
      because,
    }))
  }

  get isFull(): boolean {
    return this.#entries.length + this.#asked.size + this.#looks >= attemptsMax
  }

  /** Whose turn it is, of all connections of the run, to have the server work for it. */
  get turns(): LoopLimiter {
    return this.#account.turns
  }

  /**
   * TLS is about to be looked into, which takes work before anything can be asked in it: false where there is no room for
   * its line, or the run is over. Whoever looks says so with `looked` as soon as it is known what is asked.
   */
  look(): boolean {
    if (this.#isOver || this.isFull) return false
    this.#looks++
    return true
  }

  /** What is asked has a line of its own; where nothing was, this writes down that. */
  looked(to: Told, isAsked: boolean, caller?: Caller): void {
    this.#looks--
    if (!isAsked && !this.#isOver) this.enter(to, { verdict: 'denied', because: unasked }, caller)
  }

  /**
   * A way that is being opened, which takes its time: undefined where there is no room for its line, or the run is over.
   * Whoever asks gives it up once `stop` says so, and says so with `settle` before anything goes over it.
   */
  ask(request: EgressRequest, caller?: Caller, stop = new AbortController()): Asked | undefined {
    if (this.#isOver || this.isFull) return undefined
    const asked = { request, caller, stop }
    this.#asked.add(asked)
    return asked
  }

  /** Whether it may still be opened; a run that ended meanwhile has written down that it was not. */
  settle(asked: Asked): boolean {
    return this.#asked.delete(asked)
  }

  /** Gives up what is being opened and is no longer let out; whoever asked writes it down. */
  withdraw(isOut: (request: EgressRequest) => boolean): void {
    for (const { request, stop } of this.#asked) if (isOut(request)) stop.abort()
  }

  /** The run is over: what was being opened is not, and nothing more is. Nobody tried what is forbidden: it is cut. */
  end(because: string): void {
    this.#isOver = true
    const left = [...this.#asked]
    this.#asked.clear()
    for (const { request, caller, stop } of left) {
      stop.abort()
      const entry = new Entry(this, request, { verdict: 'denied', because }, caller)
      this.#entries.push(entry)
      this.say('egress/cut', entry)
    }
  }

  /** Writes down an attempt and says it; a full ledger says nothing more. */
  enter(request: Told, verdict: Ruling, caller?: Caller): Entry {
    const entry = new Entry(this, request, verdict, caller)
    if (this.isFull) return entry
    this.#entries.push(entry)
    this.say(verdict.verdict === 'allowed' ? 'egress/allowed' : 'egress/denied', entry)
    return entry
  }

  /** The same for one that is over as it is written down: nobody was reached, or only a name was asked for. */
  enterOver(request: Told, verdict: Ruling, caller?: Caller): void {
    const isTold = !this.isFull && verdict.verdict === 'allowed'
    const entry = this.enter(request, verdict, caller)
    if (isTold) entry.close()
  }

  say(point: 'egress/allowed' | 'egress/denied' | 'egress/cut', entry: Entry): void {
    const { scheme, host, port, method } = entry.request
    const bytes = point === 'egress/cut' && { sent: entry.sent, received: entry.received }
    const by = calledBy(entry.caller)
    const fields = { host, port, scheme, ...(method && { method }), ...by, ...bytes }
    const { because, detail } = entry
    const why = { because, ...(detail !== undefined && { detail }) }
    this.#voice.say(point, { ...fields, ...why }, this.#about)
  }

  /** What went over it, once it is over. */
  sayClosed({ request, sent, received, caller }: Entry): void {
    const { scheme, host, port } = request
    const fields = { host, port, scheme, ...calledBy(caller), sent, received, part: 'closed' }
    this.#voice.say('seen/connect', fields, this.#about)
  }

  /** What is in force later is never more; what is under way and is too much now is for whoever is told to cut. */
  bind({ sentMax, receivedMax }: Budget): void {
    const before = this.#budget
    this.#budget = {
      sentMax: Math.min(before.sentMax, sentMax),
      receivedMax: Math.min(before.receivedMax, receivedMax),
    }
    this.#account.narrow()
  }

  /** Whether so many more bytes may leave, beside all that have leave already. */
  maySend(bytes: number): boolean {
    return this.#sum.maySend(bytes, this.#budget) && this.#account.maySend(bytes)
  }

  /** Of what more was moved, or has leave to be, than may. */
  get overdrawn(): Direction | undefined {
    return this.#sum.overdrawn(this.#budget) ?? this.#account.overdrawn
  }

  count(moved: Partial<Moved>): void {
    this.#sum.add(moved)
    this.#account.sum.add(moved)
  }
}

const unasked = 'its TLS was looked into, and ended before anything was asked in it'

/** One is its pid; of several each may have asked. */
function calledBy({ pids }: Caller = { pids: [] }) {
  if (pids.length === 0) return {}
  return pids.length === 1 ? { pid: pids[0] } : { pids }
}

/** A request that was let out by its rule, and whose way is not open yet. */
export interface Asked {
  readonly request: EgressRequest
  readonly caller: Caller | undefined
  /** Says that nobody waits for it, or that it may not be opened, any more. */
  readonly stop: AbortController
}
