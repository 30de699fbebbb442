import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { answerJson, answerRefusal, unrecognizedName } from './answer.ts'
import { readClientHello } from './client-hello.ts'
import { usedUp } from './budget.ts'
import { exchange } from './exchange.ts'
import { framingOf } from './body.ts'
import { readRequestHead, refused, type Refused } from './head.ts'
import { addressOf, readHost } from './host.ts'
import type { Entry } from './entry.ts'
import { isLookUp, lookUp } from './look-up.ts'
import { deny, reach, tooMuch, whyCut, type Reached } from './reach.ts'
import { decide, type EgressRequest } from './rules.ts'
import { nextChunk, pass, send, takeFrom } from './streams.ts'
import { readTarget, type Place } from './target.ts'
import type { Heed, Terms } from './terms.ts'
import type { Watch } from './watch.ts'
import { waysInto, type Ways } from './ways.ts'

export interface Times {
  readonly headMsMax: number
  readonly idleMsMax: number
  readonly lifeMsMax: number
}

type To = Pick<Place, 'host' | 'port'>

const TLS_HANDSHAKE = 22
const leaveMsMax = 5_000

/** One connection that a guest has opened to the proxy, from its first byte to its last. */
export class Connection implements Watch {
  readonly #raw: Socket
  readonly #terms: Terms
  readonly #heed: Heed | undefined
  readonly #timers: readonly NodeJS.Timeout[]
  readonly #idle: NodeJS.Timeout
  #open: { request: EgressRequest; entry: Entry; socket: Socket } | undefined
  #isCut = false
  #isOver = false

  constructor(raw: Socket, terms: Terms, times: Times) {
    this.#raw = raw
    const stop = new AbortController()
    this.#terms = { ...terms, stop }
    this.#heed = terms.heed?.()
    // A client may say all it has to say, close its side, and wait.
    raw.allowHalfOpen = true
    raw.on('error', () => raw.destroy())
    raw.once('close', () => stop.abort())
    const late = (what: string) => () => this.cut(what)
    this.#idle = setTimeout(late('nothing happened for too long'), times.headMsMax)
    this.#timers = [this.#idle, setTimeout(late('it took too long'), times.lifeMsMax)]
    this.#idleMsMax = times.idleMsMax
  }

  readonly #idleMsMax: number

  /** Resolves when it is over; never rejects. */
  async serve(): Promise<void> {
    try {
      await this.#serve()
    } catch {
      // Whatever it is, the guest gets no more.
      this.#raw.destroy()
    } finally {
      this.#isOver = true
      for (const timer of this.#timers) clearTimeout(timer)
      clearTimeout(this.#quiet)
      this.#open?.socket.destroy()
      this.#leave()
    }
  }

  /** What was written last has to arrive, and a guest that never closes its side is not waited for. */
  #leave(): void {
    const raw = this.#raw
    if (!raw.writableEnded || raw.destroyed) return void raw.destroy()
    raw.resume()
    const timer = setTimeout(() => raw.destroy(), leaveMsMax)
    raw.once('close', () => clearTimeout(timer))
  }

  /** Cuts it where what is in force no longer lets it go on; tells whether it did. */
  tighten(): boolean {
    if (!this.#open || this.#isCut) return false
    const why = whyCut(this.#open.request, this.#terms)
    if (why !== undefined) this.cut(why)
    return why !== undefined
  }

  cut(because: string): void {
    if (this.#isCut || this.#isOver) return
    this.#isCut = true
    this.#open?.entry.cut(because)
    this.#open?.socket.destroy()
    this.#raw.destroy()
  }

  opened(request: EgressRequest, { entry, socket }: Reached): void {
    this.#open = { request, entry, socket }
    socket.on('error', () => socket.destroy())
    this.#raw.once('close', () => socket.destroy())
    if (this.#isCut || this.#raw.destroyed) socket.destroy()
    this.#touch()
  }

  sending(bytes: number): boolean {
    this.#touch()
    if (this.#open?.entry.reserve(bytes)) return !this.#isCut
    this.cut(usedUp('send'))
    return false
  }

  passes(piece: Buffer): boolean {
    if (this.#heed?.(piece) !== false) return !this.#isCut
    this.cut('it carries a planted secret')
    return false
  }

  received(): boolean {
    this.#touch()
    this.#open?.entry.count()
    const { overdrawn } = this.#terms.ledger
    if (!overdrawn) return !this.#isCut
    this.cut(usedUp(overdrawn))
    return false
  }

  #quiet: NodeJS.Timeout | undefined

  #touch(): void {
    if (this.#isOver) return
    clearTimeout(this.#idle)
    if (this.#quiet) this.#quiet.refresh()
    else this.#quiet = setTimeout(() => this.cut('nothing happened for too long'), this.#idleMsMax)
  }

  async #serve(): Promise<void> {
    const why = await this.#request(this.#raw)
    if (why) answerRefusal(this.#raw, why)
  }

  /** A request to the proxy, or, where `inside` names a place, in a tunnel to it. */
  async #request(client: Duplex, inside?: Place): Promise<Refused | undefined> {
    const taken = await takeFrom(client, readRequestHead)
    this.#looked(taken !== undefined)
    if (!taken) return undefined
    if ('kind' in taken) return this.#unread(taken, inside)
    const head = taken.value.value
    const target = readTarget(head, inside)
    if (target.kind === 'refused') return this.#unread(target, inside)
    const framing = framingOf(head)
    if (framing.kind === 'refused') return this.#unread(framing, inside)
    const rest = Buffer.from(taken.bytes.subarray(head.size))
    if (target.kind === 'request' && isLookUp(target)) return this.#lookUp(client, target)
    if (target.kind === 'request') {
      const why = await exchange(client, { head, target, framing, rest }, this.#terms, this)
      return why && !this.#isCut ? why : undefined
    }
    if (rest.length > 0) return this.#unread(refused('it speaks before its tunnel is open'))
    return this.#tunnel({ host: target.host, port: target.port })
  }

  async #lookUp(client: Duplex, asked: Parameters<typeof lookUp>[0]): Promise<Refused | undefined> {
    const found = await lookUp(asked, this.#terms)
    if (found.kind === 'refused') return found
    answerJson(client, '200 OK', found.body)
    return undefined
  }

  #unread(why: Refused, inside?: Place): Refused {
    const { host, port } = inside ?? { host: '', port: 0 }
    this.#terms.ledger.enter(
      { scheme: inside?.scheme ?? 'http', host, port },
      { verdict: 'denied', because: why.because },
      this.#terms.caller,
    )
    return why
  }

  async #tunnel(to: To): Promise<Refused | undefined> {
    if (this.#terms.ledger.isFull) return refused(tooMuch, 403)
    const ways = waysInto(to, this.#terms)
    if (ways.kind === 'denied') return deny({ scheme: 'https', ...to }, ways.because, this.#terms)
    if (ways.anything || (ways.passTls && !ways.lookPlain)) return this.#straight(to, ways)
    if (!(await send(this.#raw, established))) return undefined
    const first = await nextChunk(this.#raw)
    if (!first) return undefined
    this.#touch()
    this.#raw.unshift(first)
    const isTls = first[0] === TLS_HANDSHAKE
    if (isTls && ways.passTls) return this.#closed({ scheme: 'https', ...to }, ways)
    if (isTls && ways.lookTls) return this.#look(to)
    if (!isTls && ways.lookPlain) return this.#request(this.#raw, { scheme: 'http', ...to })
    const scheme = isTls ? 'https' : 'http'
    deny({ scheme, ...to }, decide(this.#terms.network(), { scheme, ...to }).because, this.#terms)
    this.#raw.end(isTls ? unrecognizedName : '')
    return undefined
  }

  /** A tunnel that stays closed: its server is reached first, so that the guest is told what became of that. */
  async #straight(to: To, ways: Ways): Promise<Refused | undefined> {
    const scheme = ways.anything ? ('tcp' as const) : ('https' as const)
    const request = { scheme, ...to }
    const way = await reach(request, this.#terms, (open) => this.opened(request, open))
    if (way.kind === 'refused') return way
    if (await send(this.#raw, established)) await this.#through(request, way.socket, ways)
    return undefined
  }

  /** The same, where its first byte had to be seen before. */
  async #closed(request: EgressRequest, ways: Ways): Promise<undefined> {
    const way = await reach(request, this.#terms, (open) => this.opened(request, open))
    if (way.kind === 'refused') return void this.#raw.destroy()
    await this.#through(request, way.socket, ways)
  }

  async #through(request: EgressRequest, server: Socket, ways: Ways): Promise<void> {
    const back = pass(server, this.#raw, (chunk) => (this.received() ? chunk : undefined))
    const out = (chunk: Buffer) => this.passes(chunk) && this.sending(chunk.length)
    const why = await this.#checkFirst(request, ways)
    if (why === undefined) {
      await Promise.all([
        pass(this.#raw, server, (chunk) => (out(chunk) ? chunk : undefined)),
        back,
      ])
      this.#open?.entry.end()
      return
    }
    this.#raw.write(unrecognizedName)
    this.cut(why)
  }

  /** Why what the guest says first may not pass; nothing of it has left by then. */
  async #checkFirst(request: EgressRequest, { anything }: Ways): Promise<string | undefined> {
    const first = await nextChunk(this.#raw)
    if (!first) return undefined
    this.#raw.unshift(first)
    if (anything && first[0] !== TLS_HANDSHAKE) return undefined
    return this.#checkHello(request.host)
  }

  async #checkHello(host: string): Promise<string | undefined> {
    const taken = await takeFrom(this.#raw, (bytes) => {
      const hello = readClientHello(bytes)
      return hello.kind === 'refused' ? refused(hello.because) : hello
    })
    if (!taken) return 'its TLS hello has no end'
    if ('kind' in taken) return taken.because
    this.#raw.unshift(taken.bytes)
    const { serverName } = taken.value
    if (serverName === undefined)
      return addressOf(host) === undefined ? 'its TLS hello names no server' : undefined
    return readHost(serverName) === host
      ? undefined
      : `its TLS hello names "${serverName}", its tunnel "${host}"`
  }

  /** A look is an attempt before anything is asked in it: it costs the server more than most that are refused. */
  async #look(to: To): Promise<undefined> {
    const why = await this.#checkHello(to.host)
    if (why !== undefined) deny({ scheme: 'https', ...to }, why, this.#terms)
    if (why !== undefined || !this.#terms.ledger.look()) {
      this.#raw.end(unrecognizedName)
      return undefined
    }
    this.#looking = to
    try {
      await this.#lookInto(to)
    } finally {
      this.#looked(false)
    }
  }

  #looking: To | undefined

  #looked(isAsked: boolean): void {
    const { ledger, caller } = this.#terms
    if (this.#looking) ledger.looked({ scheme: 'https', ...this.#looking }, isAsked, caller)
    this.#looking = undefined
  }

  /** TLS that ends here: the guest trusts this instance's own authority. */
  async #lookInto(to: To): Promise<void> {
    const isWanted = () => !this.#raw.destroyed
    const client = await this.#terms.ledger.turns.run(() => this.#secured(to.host), isWanted)
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

const established = Buffer.from('HTTP/1.1 200 Connection established\r\n\r\n')

/** What was written last has to be on its way before the connection below is taken down. */
function over(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) return resolve()
    stream.once('close', () => resolve())
    if (!stream.writableEnded) stream.destroy()
    else stream.resume()
  })
}
