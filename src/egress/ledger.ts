import type { Socket } from 'node:net'
import type { Voice } from '../contract/event.ts'
import { Account } from './account.ts'
import type { Caller } from './callers.ts'
import type { EgressRequest, Verdict } from './rules.ts'

export interface Budget {
  /** Bytes that may leave in one run, TLS and heads included. */
  readonly sentMax: number
  readonly receivedMax: number
}

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
  readonly voice: Voice
  readonly run: string | null
  /** Which zone of its program it is. */
  readonly zone?: string | undefined
  /** Where the other walls of the run are counted as well. */
  readonly account?: Account | undefined
}

/** What got out of one wall of a run, and what was not let out. Its proxy and its brokered requests share one. */
export class Ledger {
  #budget: Budget
  readonly #voice: Voice
  readonly #about: { readonly run: string | null; readonly zone?: string; readonly actor: string }
  readonly #account: Account
  readonly #entries: Entry[] = []
  readonly #asked = new Set<Asked>()
  #isOver = false
  readonly #total = { sent: 0, received: 0 }
  /** What it may move bounds nobody else from then on. */
  readonly close: () => void

  constructor(budget: Budget, { voice, run, zone, account = new Account() }: LedgerParts) {
    this.#budget = budget
    this.#voice = voice
    this.#about = { run, ...(zone !== undefined && { zone }), actor: 'egress' }
    this.#account = account
    this.close = account.open(() => this.#budget)
  }

  get attempts(): readonly Attempt[] {
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
    return this.#entries.length + this.#asked.size >= attemptsMax
  }

  /**
   * A way that is being opened, which takes its time: undefined where there is no room for its line, or the run is over.
   * Whoever asks says so with `settle` before anything goes over it.
   */
  ask(request: Told, caller?: Caller): Asked | undefined {
    if (this.#isOver || this.isFull) return undefined
    const asked = { request, caller }
    this.#asked.add(asked)
    return asked
  }

  /** Whether it may still be opened; a run that ended meanwhile has written down that it was not. */
  settle(asked: Asked): boolean {
    return this.#asked.delete(asked)
  }

  /** The run is over: what was being opened is not, and nothing more is. Nobody tried what is forbidden: it is cut. */
  end(because: string): void {
    this.#isOver = true
    const left = [...this.#asked]
    this.#asked.clear()
    for (const { request, caller } of left) {
      const entry = new Entry(this, request, { verdict: 'denied', because }, caller)
      this.#entries.push(entry)
      this.say('egress/cut', entry)
    }
  }

  /** Writes down an attempt and says it; a full ledger says nothing more. */
  enter(request: Told, verdict: Verdict, caller?: Caller): Entry {
    const entry = new Entry(this, request, verdict, caller)
    if (this.isFull) return entry
    this.#entries.push(entry)
    this.say(verdict.verdict === 'allowed' ? 'egress/allowed' : 'egress/denied', entry)
    return entry
  }

  /** The same for one that is over as it is written down: nobody was reached, or only a name was asked for. */
  enterOver(request: Told, verdict: Verdict, caller?: Caller): void {
    const isTold = !this.isFull && verdict.verdict === 'allowed'
    const entry = this.enter(request, verdict, caller)
    if (isTold) entry.close()
  }

  say(point: 'egress/allowed' | 'egress/denied' | 'egress/cut', entry: Entry): void {
    const { scheme, host, port, method } = entry.request
    const bytes = point === 'egress/cut' && { sent: entry.sent, received: entry.received }
    const by = calledBy(entry.caller)
    const fields = { host, port, scheme, ...(method && { method }), ...by, ...bytes }
    const because = entry.because
    this.#voice.say(point, { ...fields, because }, this.#about)
  }

  /** What went over it, once it is over. */
  sayClosed({ request, sent, received, caller }: Entry): void {
    const { scheme, host, port } = request
    const fields = { host, port, scheme, ...calledBy(caller), sent, received, part: 'closed' }
    this.#voice.say('seen/connect', fields, this.#about)
  }

  /** What is in force later is never more. */
  bind({ sentMax, receivedMax }: Budget): void {
    const before = this.#budget
    this.#budget = {
      sentMax: Math.min(before.sentMax, sentMax),
      receivedMax: Math.min(before.receivedMax, receivedMax),
    }
  }

  /** Whether so many more bytes may leave. */
  maySend(bytes: number): boolean {
    return this.#total.sent + bytes <= this.#budget.sentMax && this.#account.maySend(bytes)
  }

  get isOverdrawn(): boolean {
    const { sent, received } = this.#total
    const { sentMax, receivedMax } = this.#budget
    return sent > sentMax || received > receivedMax || this.#account.isOverdrawn
  }

  count(sent: number, received: number): void {
    for (const total of [this.#total, this.#account.total]) {
      total.sent += sent
      total.received += received
    }
  }
}

/** One is its pid; of several each may have asked. */
function calledBy({ pids }: Caller = { pids: [] }) {
  if (pids.length === 0) return {}
  return pids.length === 1 ? { pid: pids[0] } : { pids }
}

/** A request that was let out by its rule, and whose way is not open yet. */
export interface Asked {
  readonly request: Told
  readonly caller: Caller | undefined
}

export type Told = Pick<EgressRequest, 'host' | 'port' | 'method'> & { readonly scheme: string }

/** An attempt that may still be under way. */
export class Entry {
  readonly request: Told
  readonly caller: Caller | undefined
  readonly #ledger: Ledger
  verdict: Verdict['verdict']
  because: string
  isCut = false
  #isOver = false
  #isClosed = false
  sent = 0
  received = 0
  #socket: Socket | undefined

  constructor(ledger: Ledger, request: Told, { verdict, because }: Verdict, caller?: Caller) {
    this.#ledger = ledger
    this.request = request
    this.caller = caller
    this.verdict = verdict
    this.because = because
  }

  /** Its bytes are those of this socket, as the outside sees them. */
  countOn(socket: Socket): void {
    this.#socket = socket
    socket.once('close', () => this.close())
  }

  count(): void {
    // A socket that has been closed may have forgotten.
    const sent = Math.max(this.sent, this.#socket?.bytesWritten ?? 0)
    const received = Math.max(this.received, this.#socket?.bytesRead ?? 0)
    this.#ledger.count(sent - this.sent, received - this.received)
    this.sent = sent
    this.received = received
  }

  /** It came to its own end: nothing that is cut later was it. */
  end(): void {
    this.close()
    this.#isOver = true
  }

  /** Nothing more goes over it. Idempotent. */
  close(): void {
    this.count()
    if (this.#isClosed) return
    this.#isClosed = true
    this.#ledger.sayClosed(this)
  }

  /** It was let out, and ended before its own end. */
  cut(because: string): void {
    if (this.isCut || this.#isOver) return
    this.isCut = true
    this.count()
    this.because = because
    this.#ledger.say('egress/cut', this)
    this.close()
  }
}
