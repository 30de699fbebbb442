import type { Server, Socket } from 'node:net'
import { answerRefusal } from './proxy-answers.ts'
import { CallerLookup, type ConnectionCaller, type FindCallers } from './caller-lookup.ts'
import { ProxyConnection, type ConnectionTimeouts } from './connection.ts'
import { refused } from './http-head.ts'
import type { EgressAttempt } from './ledger.ts'
import { runOver, cancelForbidden } from './open-connection.ts'
import type { EgressTerms } from './egress-terms.ts'

/**
 * Forward proxy for one wall (HTTP/1.1, RFC 9110 and 9112): absolute-form requests and CONNECT.
 *
 * Problem: the guest is hostile, and any byte may try to reach a host that no rule allows.
 *
 * Mechanism: each request is parsed once, strictly, decided by rule, name and address, and rewritten from its parsed
 * form. Tunnels are opaque where rules permit it, with the TLS server name checked; where rules depend on method or
 * path, TLS is terminated by the instance's CA. Connections, idle time, lifetime, bytes and attempts are bounded.
 *
 * Relies on the listener being the wall's only socket to the outside. Not handled: UDP, QUIC, HTTP/2 and keep-alive:
 * each connection carries one request or one tunnel.
 */
export function openProxy(options: ProxyOptions): Proxy {
  return new Proxy(options)
}

/** Each change of the network in force is followed by a call of `tighten`. */
export interface ProxyOptions extends Omit<EgressTerms, 'caller' | 'stop'> {
  /** Listens inside the wall; the proxy accepts on it and closes it. */
  readonly listener: Server
  /** If absent, callers are unknown. */
  readonly callers?: FindCallers | undefined
  /** True if processes outside of the wall can connect to the listener: a connection without a caller is cut. */
  readonly isShared?: boolean
  readonly connectionsMax?: number
  readonly times?: Partial<ConnectionTimeouts>
}

export class Proxy implements AsyncDisposable {
  readonly #options: ProxyOptions
  readonly #live = new Set<ProxyConnection>()
  readonly #sockets = new Set<Socket>()
  /** Accepted ones without a place, whose request is not read yet, with their callers on a shared listener. */
  readonly #waiting = new Map<Socket, Pids | undefined>()
  readonly #callers: CallerLookup
  #closed: Promise<void> | undefined

  constructor(options: ProxyOptions) {
    this.#options = options
    this.#callers = new CallerLookup(options.callers)
    options.listener.on('connection', this.#accept)
  }

  /** Attempts so far, as in the outcome's metrics.network. */
  get attempts(): readonly EgressAttempt[] {
    return this.#options.ledger.attempts
  }

  /** Cuts and cancels connections that the network in force no longer permits; returns how many were cut. */
  tighten(): number {
    cancelForbidden(this.#options)
    return [...this.#live].filter((connection) => connection.tighten()).length
  }

  /** Stops accepting and cuts all connections. Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  readonly #accept = (socket: Socket): void => {
    if (this.#closed) return void socket.destroy()
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    // Before any refusal: a port is known until the question, and may become that of another process.
    const caller = this.#options.isShared ? this.#callers.ofShared(socket) : undefined
    if (this.#sockets.size > (2 + waitingTimesMax) * this.#max) return void socket.destroy()
    if (caller) void this.#admitCaller(socket, caller)
    else this.#admit(socket)
  }

  get #max(): number {
    return this.#options.connectionsMax ?? connectionsMax
  }

  /** Admits a connection of the wall; one without a caller is cut, and takes no place. */
  async #admitCaller(socket: Socket, caller: Promise<Pids>): Promise<void> {
    // Clients may half-close after their request and wait for the answer.
    socket.allowHalfOpen = true
    socket.on('error', () => socket.destroy())
    const pids = await caller
    if (pids.length === 0) socket.destroy()
    if (!socket.destroyed) this.#admit(socket, pids)
  }

  #admit(socket: Socket, pids?: Pids): void {
    const max = this.#max
    if (this.#live.size < max) return this.#begin(socket, pids)
    socket.on('error', () => socket.destroy())
    if (this.#waiting.size >= waitingTimesMax * max)
      return answerRefusal(socket, refused(`${max} connections are open already`, 503))
    socket.allowHalfOpen = true
    this.#waiting.set(socket, pids)
    socket.once('close', () => this.#waiting.delete(socket))
    this.#freePlace()
  }

  /** Serves the connection that has waited longest. */
  #next(): void {
    const [first] = this.#waiting
    if (!first || this.#closed) return
    this.#waiting.delete(first[0])
    this.#begin(...first)
  }

  /**
   * While connections wait, takes the place of the tunnel that was idle for longest since its last answer, if for
   * minutes. Requests, and tunnels that wait for an answer, keep their places.
   */
  #freePlace(): void {
    const live = [...this.#live]
    if (live.filter(({ isCut }) => isCut).length >= this.#waiting.size) return
    const [idlest] = live.toSorted((a, b) => b.spareForMs - a.spareForMs)
    if (idlest && idlest.spareForMs > 0) idlest.yieldPlace()
  }

  #begin(socket: Socket, pids?: Pids): void {
    const { times } = this.#options
    const caller: ConnectionCaller = { pids: pids ?? [] }
    const terms = { ...this.#options, caller }
    const connection = new ProxyConnection(socket, terms, { ...defaultTimes, ...times }, () =>
      this.#freePlace(),
    )
    this.#live.add(connection)
    // The caller is resolved before any byte is read, so that every event can name it.
    const serve = async () => {
      caller.pids = pids ?? (await this.#callers.of(socket))
      await connection.serve()
    }
    void serve().finally(() => {
      this.#live.delete(connection)
      this.#next()
    })
  }

  async #close(): Promise<void> {
    const { listener, ledger } = this.#options
    ledger.end(runOver)
    const done = new Promise<void>((resolve) => listener.close(() => resolve()))
    for (const connection of this.#live) connection.cut(runOver)
    for (const socket of this.#sockets) socket.destroy()
    await done
    listener.off('connection', this.#accept)
  }
}

type Pids = ConnectionCaller['pids']

const connectionsMax = 64
/** Connections that wait for one of those places, in places. */
const waitingTimesMax = 3
/**
 * Ten minutes without a byte: a model or a long poll thinks before its answer. Places, life and run bound a guest.
 * Three minutes after an answer are more than servers usually keep an idle connection.
 */
const defaultTimes: ConnectionTimeouts = {
  headMsMax: 10_000,
  idleMsMax: 10 * 60_000,
  lifeMsMax: 15 * 60_000,
  spareMs: 3 * 60_000,
}
