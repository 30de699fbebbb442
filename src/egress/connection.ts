import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { answerJson, answerRefusal, unrecognizedName } from './proxy-answers.ts'
import { budgetExceeded } from './byte-budget.ts'
import { relayRequest } from './relay-request.ts'
import { framingOf } from './http-body.ts'
import { readRequestHead, refused, type EgressRefusal } from './http-head.ts'
import { isDnsLookup, resolveForGuest } from './dns-lookup.ts'
import {
  deny,
  openConnection,
  ledgerFull,
  whyCut,
  type EgressConnection,
  type LiveConnection,
} from './open-connection.ts'
import { decide, type EgressRequest } from './rules.ts'
import { nextChunk, copyStream, send, readUntilParsed } from './streams.ts'
import { readTarget, type HttpOrigin } from './target.ts'
import { plantedSecret, type OutboundCheck, type EgressTerms } from './egress-terms.ts'
import type { ConnectionMonitor } from './connection-monitor.ts'
import { checkedHello, relayHellos, ServerReply } from './tunnel-hello.ts'
import { tunnelModesFor, type TunnelModes } from './tunnel-modes.ts'

export interface ConnectionTimeouts {
  readonly headMsMax: number
  /** Without a byte in either direction: a wait for an answer, too. */
  readonly idleMsMax: number
  readonly lifeMsMax: number
  /** Without a byte, in a tunnel that was answered: its place may then be taken by one that waits. */
  readonly spareMs: number
}

type To = Pick<HttpOrigin, 'host' | 'port'>

const TLS_HANDSHAKE = 22
const drainMsMax = 5_000
/** Time from a read request to its open connection, enough for all tries; looks at a quiet one are no rarer. */
const quietMsMax = 60_000
/** In a tunnel fewer bytes may be session tickets, acknowledgements or window updates: they also follow a request. */
const answerBytesMin = 4096

/** Connection of a guest to the proxy, from accept to close. */
export class ProxyConnection implements ConnectionMonitor {
  readonly #raw: Socket
  readonly #terms: EgressTerms
  readonly #outboundCheck: OutboundCheck | undefined
  readonly #timers: readonly NodeJS.Timeout[]
  readonly #headTimer: NodeJS.Timeout
  #open: LiveConnection | undefined
  #isCut = false
  #isOver = false

  /** `onQuiet` is called from time to time while no byte comes or goes. */
  constructor(raw: Socket, terms: EgressTerms, times: ConnectionTimeouts, onQuiet: () => void) {
    this.#raw = raw
    const stop = new AbortController()
    this.#terms = { ...terms, stop }
    this.#outboundCheck = terms.makeOutboundCheck?.()
    // Clients may half-close after their request and wait for the answer.
    raw.allowHalfOpen = true
    raw.on('error', () => raw.destroy())
    raw.once('close', () => stop.abort())
    const { headMsMax, idleMsMax, lifeMsMax, spareMs } = times
    this.#headTimer = setTimeout(() => this.cut(idle(headMsMax)), headMsMax)
    const isOld = () => this.#late(`it was open for too long: ${seconds(lifeMsMax)}`)
    this.#timers = [this.#headTimer, setTimeout(isOld, lifeMsMax)]
    this.#idleMsMax = idleMsMax
    this.#connectMsMax = Math.min(quietMsMax, idleMsMax)
    this.#spareMs = spareMs
    this.#lookMs = Math.min(this.#connectMsMax, spareMs)
    this.#onQuiet = onQuiet
  }

  readonly #idleMsMax: number
  readonly #connectMsMax: number
  readonly #spareMs: number
  readonly #lookMs: number
  readonly #onQuiet: () => void
  /** Answer to a request that is given up. */
  #why: EgressRefusal | undefined
  /** True from a request on until the first byte of its answer. */
  #awaitsAnswer = false
  /** Bytes that its tunnel received since the guest last sent some; 0 for a request, which ends with its answer. */
  #answerBytes = 0

  /** Resolves when the connection is over; never rejects. */
  async serve(): Promise<void> {
    try {
      await this.#serve()
    } catch {
      // Fail closed: any error ends the guest's connection.
      this.#raw.destroy()
    } finally {
      this.#isOver = true
      for (const timer of this.#timers) clearTimeout(timer)
      clearTimeout(this.#idleTimer)
      this.#open?.socket.destroy()
      this.#drain()
    }
  }

  /** Lets the last bytes drain, with a deadline for guests that never close their side. */
  #drain(): void {
    const raw = this.#raw
    if (!raw.writableEnded || raw.destroyed) return void raw.destroy()
    raw.resume()
    const timer = setTimeout(() => raw.destroy(), drainMsMax)
    raw.once('close', () => clearTimeout(timer))
  }

  /** Cuts the connection if the network in force no longer permits it; true if it did. */
  tighten(): boolean {
    if (!this.#open || this.#isCut) return false
    const why = whyCut(this.#open, this.#terms)
    if (why !== undefined) this.cut(why)
    return why !== undefined
  }

  /** Milliseconds idle since its last answer; 0 before they are so many that its place may be taken. */
  get spareForMs(): number {
    const isAnswered = this.#answerBytes >= answerBytesMin
    const isSpare = isAnswered && !this.#isCut && this.#quietMs >= this.#spareMs
    return isSpare ? this.#quietMs : 0
  }

  get isCut(): boolean {
    return this.#isCut
  }

  /** Gives up its place to a connection that waits for one. */
  yieldPlace(): void {
    this.cut(`it was idle for ${seconds(this.#quietMs)}, and another connection needed its place`)
  }

  cut(because: string): void {
    if (this.#isCut || this.#isOver) return
    this.#isCut = true
    this.#open?.entry.cut(because)
    this.#open?.socket.destroy()
    this.#raw.destroy()
  }

  /** Gives up for a time limit; a guest that waits for an answer, and has no byte of it, gets the reason as one. */
  #late(because: string): void {
    const open = this.#open
    if (!open || !this.#awaitsAnswer || this.#isOver) return this.cut(because)
    this.#awaitsAnswer = false
    this.#why = refused(because, 504)
    open.entry.cut(because)
    open.socket.destroy()
  }

  opened(request: EgressRequest, { entry, socket, address }: EgressConnection): void {
    this.#open = { request, entry, socket, address }
    socket.on('error', () => socket.destroy())
    this.#raw.once('close', () => socket.destroy())
    if (this.#isCut || this.#raw.destroyed) socket.destroy()
    this.#touch()
  }

  sending(bytes: number): boolean {
    this.#answerBytes = 0
    this.#touch()
    if (this.#open?.entry.reserve(bytes)) return !this.#isCut
    this.cut(budgetExceeded('send'))
    return false
  }

  passes(piece: Buffer): boolean {
    if (this.#outboundCheck?.(piece) !== false) return !this.#isCut
    this.cut(plantedSecret)
    return false
  }

  received(): boolean {
    this.#awaitsAnswer = false
    this.#touch()
    return this.#count()
  }

  #count(): boolean {
    this.#open?.entry.count()
    const { overdrawn } = this.#terms.ledger
    if (!overdrawn) return !this.#isCut
    this.cut(budgetExceeded(overdrawn))
    return false
  }

  parse<T>(work: () => T): Promise<T | undefined> {
    return this.#terms.ledger.parsing.run(work, () => !this.#isCut && !this.#raw.destroyed)
  }

  #idleTimer: NodeJS.Timeout | undefined
  #quietMs = 0

  #touch(): void {
    if (this.#isOver) return
    clearTimeout(this.#headTimer)
    this.#quietMs = 0
    if (this.#idleTimer) this.#idleTimer.refresh()
    else this.#idleTimer = setTimeout(() => this.#look(), this.#lookMs)
  }

  /** Counts what a quiet connection received in TLS besides data, and gives up one that was quiet for too long. */
  #look(): void {
    this.#quietMs += this.#lookMs
    const mostMs = this.#open ? this.#idleMsMax : this.#connectMsMax
    if (this.#quietMs >= mostMs) return this.#late(idle(this.#quietMs))
    if (!this.#count()) return
    this.#idleTimer?.refresh()
    this.#onQuiet()
  }

  async #serve(): Promise<void> {
    const why = await this.#request(this.#raw)
    if (why) answerRefusal(this.#raw, why)
  }

  /** Handles a request to the proxy, or inside a tunnel if `inside` is given. */
  async #request(client: Duplex, inside?: HttpOrigin): Promise<EgressRefusal | undefined> {
    const parsed = await readUntilParsed(client, readRequestHead)
    this.#endInspection(parsed !== undefined)
    if (!parsed) return undefined
    if ('kind' in parsed) return this.#unread(parsed, inside)
    const head = parsed.value.value
    const target = readTarget(head, inside)
    if (target.kind === 'refused') return this.#unread(target, inside)
    const framing = framingOf(head)
    if (framing.kind === 'refused') return this.#unread(framing, inside)
    const rest = Buffer.from(parsed.bytes.subarray(head.size))
    if (target.kind === 'request' && isDnsLookup(target)) return this.#resolve(client, target)
    if (target.kind === 'request') {
      this.#awaitsAnswer = true
      this.#touch()
      const why = await relayRequest(client, { head, target, framing, rest }, this.#terms, this)
      return this.#isCut ? undefined : (this.#why ?? why)
    }
    if (rest.length > 0) return this.#unread(refused('it sends data before its tunnel is open'))
    return this.#tunnel({ host: target.host, port: target.port })
  }

  async #resolve(
    client: Duplex,
    query: Parameters<typeof resolveForGuest>[0],
  ): Promise<EgressRefusal | undefined> {
    const found = await resolveForGuest(query, this.#terms)
    if (found.kind === 'refused') return found
    answerJson(client, '200 OK', found.body)
    return undefined
  }

  #unread(why: EgressRefusal, inside?: HttpOrigin): EgressRefusal {
    const { host, port } = inside ?? { host: '', port: 0 }
    this.#terms.ledger.record(
      { scheme: inside?.scheme ?? 'http', host, port },
      { verdict: 'denied', because: why.because },
      this.#terms.caller,
    )
    return why
  }

  async #tunnel(to: To): Promise<EgressRefusal | undefined> {
    if (this.#terms.ledger.isFull) return refused(ledgerFull, 403)
    const modes = tunnelModesFor(to, this.#terms)
    if (modes.kind === 'denied') return deny({ scheme: 'https', ...to }, modes.because, this.#terms)
    if (modes.passAny || (modes.passTls && !modes.inspectHttp))
      return this.#connectThenRelay(to, modes)
    if (!(await send(this.#raw, established))) return undefined
    const first = await nextChunk(this.#raw)
    if (!first) return undefined
    this.#touch()
    this.#raw.unshift(first)
    const isTls = first[0] === TLS_HANDSHAKE
    if (isTls && modes.passTls) return this.#relayOpaqueTls({ scheme: 'https', ...to }, modes)
    if (isTls && modes.inspectTls) return this.#inspect(to)
    if (!isTls && modes.inspectHttp) return this.#request(this.#raw, { scheme: 'http', ...to })
    const scheme = isTls ? 'https' : 'http'
    deny({ scheme, ...to }, decide(this.#terms.network(), { scheme, ...to }).because, this.#terms)
    this.#raw.end(isTls ? unrecognizedName : '')
    return undefined
  }

  /** Opaque tunnel: connects to the server first, so that the guest gets the connect error as the answer to CONNECT. */
  async #connectThenRelay(to: To, modes: TunnelModes): Promise<EgressRefusal | undefined> {
    const scheme = modes.passAny ? ('tcp' as const) : ('https' as const)
    const request = { scheme, ...to }
    this.#touch()
    const connection = await openConnection(request, this.#terms, (open) =>
      this.opened(request, open),
    )
    if (connection.kind === 'refused') return connection
    if (await send(this.#raw, established))
      await this.#relayTunnel(request, connection.socket, modes)
    return undefined
  }

  /** Opaque tunnel whose first byte was needed to choose the mode. */
  async #relayOpaqueTls(request: EgressRequest, modes: TunnelModes): Promise<undefined> {
    const connection = await openConnection(request, this.#terms, (open) =>
      this.opened(request, open),
    )
    if (connection.kind === 'refused') return void this.#raw.destroy()
    await this.#relayTunnel(request, connection.socket, modes)
  }

  async #relayTunnel(request: EgressRequest, server: Socket, modes: TunnelModes): Promise<void> {
    const reply = new ServerReply()
    const back = copyStream(server, this.#raw, (chunk) => {
      reply.push(chunk)
      this.#answerBytes += chunk.length
      return this.received() ? chunk : undefined
    }).finally(() => reply.end())
    const may = (chunk: Buffer) => this.passes(chunk) && this.sending(chunk.length)
    const first = await nextChunk(this.#raw)
    if (first) this.#raw.unshift(first)
    const isOpen = !first || (modes.passAny && first[0] !== TLS_HANDSHAKE)
    const forward = async (bytes: Buffer) => may(bytes) && (await send(server, bytes))
    const why = isOpen ? undefined : await relayHellos(this.#raw, request.host, reply, forward)
    if (why === undefined) {
      await Promise.all([
        copyStream(this.#raw, server, (chunk) => (may(chunk) ? chunk : undefined)),
        back,
      ])
      this.#open?.entry.end()
      return
    }
    this.#raw.write(unrecognizedName)
    this.cut(why)
  }

  /**
   * Records the inspection as an attempt before any request is read: a handshake costs the server more than most
   * refused requests.
   */
  async #inspect(to: To): Promise<undefined> {
    const hello = await checkedHello(this.#raw, to.host)
    const isRefused = typeof hello === 'string'
    if (isRefused) deny({ scheme: 'https', ...to }, hello, this.#terms)
    if (isRefused || !this.#terms.ledger.beginInspection()) {
      this.#raw.end(unrecognizedName)
      return undefined
    }
    this.#inspecting = to
    try {
      await this.#terminateTls(to)
    } finally {
      this.#endInspection(false)
    }
  }

  #inspecting: To | undefined

  #endInspection(hasRequest: boolean): void {
    const { ledger, caller } = this.#terms
    if (this.#inspecting)
      ledger.endInspection({ scheme: 'https', ...this.#inspecting }, hasRequest, caller)
    this.#inspecting = undefined
  }

  /** Terminates TLS with a certificate of this instance's CA. */
  async #terminateTls(to: To): Promise<void> {
    const isWanted = () => !this.#raw.destroyed
    const client = await this.#terms.ledger.limiter.run(() => this.#secured(to.host), isWanted)
    if (!client) return
    const refusal = await this.#request(client, { scheme: 'https', ...to })
    if (refusal) answerRefusal(client, refusal)
    await over(client)
  }

  #secured(host: string): TLSSocket {
    const client = new TLSSocket(this.#raw, {
      isServer: true,
      secureContext: this.#terms.authority!.contextFor(host),
      ALPNProtocols: ['http/1.1'],
    })
    client.on('error', () => client.destroy())
    return client
  }
}

const seconds = (ms: number) => `${ms / 1000} s`
const idle = (ms: number) => `it was idle for too long: no byte came or went for ${seconds(ms)}`

const established = Buffer.from('HTTP/1.1 200 Connection established\r\n\r\n')

/** Waits until the last written bytes have left, before the TCP connection below is closed. */
function over(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) return resolve()
    stream.once('close', () => resolve())
    if (!stream.writableEnded) stream.destroy()
    else stream.resume()
  })
}
