import type { Emitter } from '../contract/event.ts'
import type { NetworkAttempt } from '../contract/outcome.ts'
import { TrafficAccount } from './traffic-account.ts'
import {
  ByteCounter,
  type ByteBudget,
  type TrafficDirection,
  type ByteCounts,
} from './byte-budget.ts'
import type { ConnectionCaller } from './caller-lookup.ts'
import { LedgerEntry, type LoggedDecision, type AttemptTarget } from './ledger-entry.ts'
import type { EgressRequest } from './rules.ts'
import type { LoopLimiter } from '../lib/loop-limiter.ts'

/** Outgoing connection attempt; its host is empty if the request could not be parsed. */
export type EgressAttempt = NetworkAttempt & { readonly because: string }

/** Limit of recorded attempts per run; further ones are refused. */
export const attemptsMax = 4096

export interface LedgerParts {
  readonly emitter: Emitter
  readonly run: string | null
  /** Zone of the program, if it has several walls. */
  readonly zone?: string | undefined
  /** Account shared by the walls of the run. */
  readonly account?: TrafficAccount | undefined
  /** Called when the budget shrinks, also by another wall of the run. */
  readonly narrowed?: () => void
}

/** Attempts of one wall, allowed and denied; shared by its proxy and its brokered fetch. */
export class Ledger {
  #budget: ByteBudget
  readonly #emitter: Emitter
  readonly #about: { readonly run: string | null; readonly zone?: string; readonly actor: string }
  readonly #account: TrafficAccount
  readonly #entries: LedgerEntry[] = []
  readonly #pending = new Set<PendingAttempt>()
  #inspections = 0
  #isOver = false
  readonly #sum = new ByteCounter()
  /** Removes this wall's budget from the account. */
  readonly close: () => void

  constructor(budget: ByteBudget, parts: LedgerParts) {
    const { emitter, run, zone, account = new TrafficAccount(), narrowed = () => undefined } = parts
    this.#budget = budget
    this.#emitter = emitter
    this.#about = { run, ...(zone !== undefined && { zone }), actor: 'egress' }
    this.#account = account
    this.close = account.open({ budget: () => this.#budget, narrowed })
  }

  get attempts(): readonly EgressAttempt[] {
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
    return this.#entries.length + this.#pending.size + this.#inspections >= attemptsMax
  }

  /** Rate limit for server work on behalf of the run's connections. */
  get limiter(): LoopLimiter {
    return this.#account.limiter
  }

  /** Rate limit for the parsers of the run's streams. */
  get parsing(): LoopLimiter {
    return this.#account.parsing
  }

  /**
   * Begins a TLS inspection, which costs work before any request is read. False if the ledger is full or the run is
   * over. The caller calls `endInspection` once the outcome is known.
   */
  beginInspection(): boolean {
    if (this.#isOver || this.isFull) return false
    this.#inspections++
    return true
  }

  /** Ends an inspection; if no request came, that is recorded as a denied attempt. */
  endInspection(to: AttemptTarget, hasRequest: boolean, caller?: ConnectionCaller): void {
    this.#inspections--
    if (!hasRequest && !this.#isOver)
      this.record(to, { verdict: 'denied', because: noRequest }, caller)
  }

  /**
   * Begins opening a connection. Undefined if the ledger is full or the run is over. The caller cancels when `stop`
   * aborts, and calls `endAttempt` before it uses the connection.
   */
  beginAttempt(
    request: EgressRequest,
    caller?: ConnectionCaller,
    stop = new AbortController(),
  ): PendingAttempt | undefined {
    if (this.#isOver || this.isFull) return undefined
    const attempt = { request, caller, stop }
    this.#pending.add(attempt)
    return attempt
  }

  /** True if the connection may still be used; otherwise `end` has recorded it as cut. */
  endAttempt(attempt: PendingAttempt): boolean {
    return this.#pending.delete(attempt)
  }

  /** Cancels pending attempts that are no longer permitted; their callers record them. */
  cancelAttempts(isOut: (request: EgressRequest) => boolean): void {
    for (const { request, stop } of this.#pending) if (isOut(request)) stop.abort()
  }

  /** Ends the run: pending attempts are cancelled and recorded as cut, not as denied by a rule. */
  end(because: string): void {
    this.#isOver = true
    const left = [...this.#pending]
    this.#pending.clear()
    for (const { request, caller, stop } of left) {
      stop.abort()
      const entry = new LedgerEntry(this, request, { verdict: 'denied', because }, caller)
      this.#entries.push(entry)
      this.emit('egress/cut', entry)
    }
  }

  /** Records an attempt and emits its event; a full ledger emits nothing. */
  record(request: AttemptTarget, verdict: LoggedDecision, caller?: ConnectionCaller): LedgerEntry {
    const entry = new LedgerEntry(this, request, verdict, caller)
    if (this.isFull) return entry
    this.#entries.push(entry)
    this.emit(verdict.verdict === 'allowed' ? 'egress/allowed' : 'egress/denied', entry)
    return entry
  }

  /** Records an attempt that is already over: unreachable, or a DNS lookup. */
  recordFinished(request: AttemptTarget, verdict: LoggedDecision, caller?: ConnectionCaller): void {
    const isRecorded = !this.isFull && verdict.verdict === 'allowed'
    const entry = this.record(request, verdict, caller)
    if (isRecorded) entry.close()
  }

  emit(point: 'egress/allowed' | 'egress/denied' | 'egress/cut', entry: LedgerEntry): void {
    const { scheme, host, port, method } = entry.request
    const bytes = point === 'egress/cut' && { sent: entry.sent, received: entry.received }
    const by = calledBy(entry.caller)
    const fields = { host, port, scheme, ...(method && { method }), ...by, ...bytes }
    const { because, detail } = entry
    const why = { because, ...(detail !== undefined && { detail }) }
    this.#emitter.emit(point, { ...fields, ...why }, this.#about)
  }

  /** Emits the byte counts of a finished attempt. */
  emitClosed({ request, sent, received, caller }: LedgerEntry): void {
    const { scheme, host, port } = request
    const fields = { host, port, scheme, ...calledBy(caller), sent, received, part: 'closed' }
    this.#emitter.emit('seen/connect', fields, this.#about)
  }

  /** Lowers the budget; walls that now exceed it are notified and cut their traffic. */
  lowerBudget({ sentMax, receivedMax }: ByteBudget): void {
    const before = this.#budget
    this.#budget = {
      sentMax: Math.min(before.sentMax, sentMax),
      receivedMax: Math.min(before.receivedMax, receivedMax),
    }
    this.#account.narrow()
  }

  /** True while `bytes` more fit the budget, in addition to all reservations. */
  maySend(bytes: number): boolean {
    return this.#sum.maySend(bytes, this.#budget) && this.#account.maySend(bytes)
  }

  /** Direction whose limit is exceeded, if any. */
  get overdrawn(): TrafficDirection | undefined {
    return this.#sum.overdrawn(this.#budget) ?? this.#account.overdrawn
  }

  count(moved: Partial<ByteCounts>): void {
    this.#sum.add(moved)
    this.#account.sum.add(moved)
  }
}

const noRequest = 'its inspected TLS connection ended without a request'

/** Several pids if the socket is shared: any of them may have sent the request. */
function calledBy({ pids }: ConnectionCaller = { pids: [] }) {
  if (pids.length === 0) return {}
  return pids.length === 1 ? { pid: pids[0] } : { pids }
}

/** Permitted attempt whose connection is not open yet. */
export interface PendingAttempt {
  readonly request: EgressRequest
  readonly caller: ConnectionCaller | undefined
  /** Aborted if the caller is gone or the attempt is no longer permitted. */
  readonly stop: AbortController
}
