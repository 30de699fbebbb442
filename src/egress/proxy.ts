import type { Server, Socket } from 'node:net'
import type { NetworkControl } from '../contract/controls.ts'
import type { Emitter } from '../contract/event.ts'
import { answerRefusal } from './answer.ts'
import type { Authority } from './authority.ts'
import { Callers, type Caller, type FindCallers } from './callers.ts'
import { Connection, type Times } from './connection.ts'
import { checkCredentials, type Credential } from './credentials.ts'
import type { DialOptions } from './dns.ts'
import { refused } from './head.ts'
import type { Budget } from './budget.ts'
import { Ledger, type Attempt } from './ledger.ts'
import { over, withdraw } from './reach.ts'
import type { Terms } from './terms.ts'

export interface ProxyOptions extends DialOptions, Pick<Terms, 'heed' | 'look' | 'trust'> {
  /** Listens inside the wall; the proxy accepts on it and closes it. */
  readonly listener: Server
  /** The network in force; may get narrower while it runs, and tighten() is told then. */
  readonly network: () => NetworkControl
  readonly budget: Budget
  readonly run: string | null
  readonly voice: Emitter
  /** Shared with brokered requests of the same run; left out, the proxy has one of its own. */
  readonly ledger?: Ledger
  /** Left out, nobody can say who opened a connection. */
  readonly callers?: FindCallers | undefined
  readonly credentials?: readonly Credential[]
  readonly authority?: Authority
  readonly connectionsMax?: number
  readonly times?: Partial<Times>
}

export interface Proxy extends AsyncDisposable {
  /** What was tried so far, as the outcome's metrics.network has it. */
  readonly attempts: readonly Attempt[]
  /** Cuts what is in force no longer lets go on, and gives up what is being opened; answers how many were open. */
  tighten(): number
  /** Takes no more, ends all that is open. Idempotent. */
  close(): Promise<void>
}

const connectionsMax = 64
const defaultTimes: Times = { headMsMax: 10_000, idleMsMax: 60_000, lifeMsMax: 15 * 60_000 }

/**
 * The only way out of a wall: HTTP requests with a whole address, and CONNECT. What is asked is read once, strictly, and
 * decided by rule, name and address; what leaves is written anew from what was read.
 */
export function openProxy(options: ProxyOptions): Proxy {
  checkCredentials(options.credentials ?? [])
  return new OpenProxy(options)
}

class OpenProxy implements Proxy {
  readonly #options: ProxyOptions
  readonly #terms: Terms
  readonly #live = new Set<Connection>()
  readonly #sockets = new Set<Socket>()
  readonly #callers: Callers
  #closed: Promise<void> | undefined

  constructor(options: ProxyOptions) {
    this.#options = options
    const { budget, voice, run, callers } = options
    this.#callers = new Callers(callers)
    this.#terms = { ...options, ledger: options.ledger ?? new Ledger(budget, { voice, run }) }
    options.listener.on('connection', this.#accept)
  }

  get attempts(): readonly Attempt[] {
    return this.#terms.ledger.attempts
  }

  tighten(): number {
    withdraw(this.#terms)
    return [...this.#live].filter((connection) => connection.tighten()).length
  }

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
    const { connectionsMax: max = connectionsMax, times } = this.#options
    if (this.#sockets.size > 2 * max) return void socket.destroy()
    if (this.#live.size >= max) {
      socket.on('error', () => socket.destroy())
      return answerRefusal(socket, refused(`${max} connections are open already`, 503))
    }
    const caller: Caller = { pids: [] }
    const terms = { ...this.#terms, caller }
    const connection = new Connection(socket, terms, { ...defaultTimes, ...times })
    this.#live.add(connection)
    void this.#serve(connection, socket, caller).finally(() => this.#live.delete(connection))
  }

  /** Nothing of it is read before it is known whose it is, so that all that is told of it says so. */
  async #serve(connection: Connection, socket: Socket, caller: Caller): Promise<void> {
    caller.pids = await this.#callers.of(socket)
    await connection.serve()
  }

  async #close(): Promise<void> {
    const { listener } = this.#options
    this.#terms.ledger.end(over)
    const done = new Promise<void>((resolve) => listener.close(() => resolve()))
    for (const connection of this.#live) connection.cut(over)
    for (const socket of this.#sockets) socket.destroy()
    await done
    listener.off('connection', this.#accept)
  }
}
