import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { bodyReader, type Framing } from './body.ts'
import { placeCredentials, SecretScan } from './credentials.ts'
import {
  readLines,
  refused,
  valuesOf,
  wordsOf,
  type Header,
  type Lines,
  type Refused,
  type RequestHead,
} from './head.ts'
import type { Entry } from './ledger.ts'
import { deny, reach, secured } from './reach.ts'
import type { EgressRequest } from './rules.ts'
import { nextChunk, send, takeFrom } from './streams.ts'
import { authorityText, schemeBelow, type Place, type Target } from './target.ts'
import type { Terms } from './terms.ts'

/** What a live connection is told while it lives; it may answer by ending it. */
export interface Watch {
  /** A way out has been opened. */
  opened(request: EgressRequest, entry: Entry, socket: Socket): void
  /** Bytes are about to leave, or have come in; false when they are more than may. */
  sending(bytes: number): boolean
  /** What leaves, as it can be read; false when it may not. */
  passes(piece: Buffer): boolean
  received(): boolean
  cut(because: string): void
}

export interface Asked {
  readonly head: RequestHead
  readonly target: Extract<Target, { kind: 'request' }>
  readonly framing: Framing
  /** What came after the head. */
  readonly rest: Buffer
}

const answerHeadBytesMax = 64 * 1024
const interimMax = 8

/**
 * One request and its answer, each on a connection of its own that is closed afterwards: what a guest sends behind its
 * request is nobody's, so no second request can hide in a first.
 */
export async function exchange(
  client: Duplex,
  asked: Asked,
  terms: Terms,
  watch: Watch,
): Promise<Refused | undefined> {
  const { scheme, host, port, path } = asked.target
  const request = { scheme, host, port, path, method: asked.head.method }
  const place: Place = { scheme: schemeBelow(scheme), host, port }
  const inPlace = { scheme: place.scheme, host, port }
  const placed = placeCredentials(asked.head.headers, inPlace, terms.credentials ?? [])
  if (placed.kind === 'denied') return deny(request, placed.because, terms)
  const way = await reach(request, terms)
  if (way.kind === 'refused') return way
  watch.opened(request, way.entry, way.socket)
  const server = place.scheme === 'https' ? await secured(way.socket, host, terms) : way.socket
  if ('kind' in server) return server
  server.on('error', () => server.destroy())
  const head = requestText(asked, placed.headers, { place, plain: placed.secrets.length > 0 })
  if (!watch.passes(head) || !watch.sending(head.length)) return undefined
  if (!(await send(server, head))) return undefined
  const body = sendBody(client, server, asked, watch)
  const answered = await passAnswer(server, client, { ...asked, secrets: placed.secrets }, watch)
  if (answered === 'upgraded') {
    await body
    await both(client, server, watch)
  }
  way.entry.end()
  server.destroy()
  return typeof answered === 'object' ? answered : undefined
}

/** Both ways at once, until both have ended. */
export async function both(client: Duplex, server: Duplex, watch: Watch): Promise<void> {
  await Promise.all([
    pass(client, server, (chunk) => watch.passes(chunk) && watch.sending(chunk.length)),
    pass(server, client, () => watch.received()),
  ])
}

/** Copies until the end, and ends the other side then. */
export async function pass(
  from: Duplex,
  to: Duplex,
  may: (chunk: Buffer) => boolean,
): Promise<void> {
  for (;;) {
    const chunk = await nextChunk(from)
    if (!chunk) return void to.end()
    if (!may(chunk) || !(await send(to, chunk))) return
  }
}

interface Written {
  readonly place: Place
  /** A compressed answer could not be searched for a secret. */
  readonly plain: boolean
}

const notPassedOn =
  /^(host|connection|proxy-.*|keep-alive|te|trailer|transfer-encoding|content-length|upgrade|http2-settings)$/i

/** The request as the server gets it: written from what was read, with one host and one end. */
function requestText(
  { head, target, framing }: Asked,
  headers: readonly Header[],
  { place, plain }: Written,
): Buffer {
  const isUpgrade = target.scheme.startsWith('ws')
  const kept = headers.filter(
    ([name]) => !notPassedOn.test(name) && !(plain && /^accept-encoding$/i.test(name)),
  )
  const lengths: readonly Header[] =
    framing.kind === 'chunked'
      ? [['Transfer-Encoding', 'chunked']]
      : valuesOf(head.headers, 'content-length').map((length) => ['Content-Length', length])
  const own: readonly Header[] = [
    ...(plain ? ([['Accept-Encoding', 'identity']] as const) : []),
    ...lengths,
    ...(isUpgrade ? ([['Upgrade', 'websocket']] as const) : []),
    ['Connection', isUpgrade ? 'Upgrade' : 'close'],
  ]
  const lines = [['Host', authorityText(place)] as const, ...kept, ...own]
  const first = `${head.method} ${target.path}${target.query} HTTP/1.${head.minor}`
  return Buffer.from([first, ...lines.map(([n, v]) => `${n}: ${v}`), '', ''].join('\r\n'), 'latin1')
}

async function sendBody(
  client: Duplex,
  server: Duplex,
  { rest, framing }: Asked,
  watch: Watch,
): Promise<void> {
  const reader = bodyReader(framing)
  let chunk: Buffer | undefined = rest
  try {
    for (; chunk; chunk = reader.isDone ? undefined : await nextChunk(client)) {
      const read = reader.push(chunk)
      if (!watch.passes(read)) return
      const own = carried(read, framing, reader.isDone)
      if (own.length === 0) continue
      if (!watch.sending(own.length) || !(await send(server, own))) return
    }
    if (!reader.isDone) server.destroy()
  } catch (thrown) {
    if (!(thrown instanceof RangeError)) throw thrown
    watch.cut(`the body cannot be read: ${thrown.message}`)
  }
}

/** Chunks are written anew, without what stood around them. */
function carried(bytes: Buffer, { kind }: Framing, isLast: boolean): Buffer {
  if (kind === 'length') return bytes
  const size = Buffer.from(`${bytes.length.toString(16)}\r\n`)
  const chunk = bytes.length > 0 ? [size, bytes, Buffer.from('\r\n')] : []
  return Buffer.concat([...chunk, Buffer.from(isLast ? '0\r\n\r\n' : '')])
}

interface Answering {
  readonly head: RequestHead
  readonly target: Asked['target']
  readonly secrets: readonly string[]
}

/** Passes interim answers, the answer's head and its body. A refusal means that nothing has been passed. */
async function passAnswer(
  server: Duplex,
  client: Duplex,
  { head, target, secrets }: Answering,
  watch: Watch,
): Promise<Refused | 'upgraded' | 'done'> {
  const scan = new SecretScan(secrets)
  let rest = Buffer.alloc(0)
  for (let interim = 0; interim < interimMax; interim++) {
    const taken = await takeFrom(server, (bytes) => readLines(bytes, answerHeadBytesMax), rest)
    if (!watch.received()) return 'done'
    if (!taken || 'kind' in taken) return refused('its answer is not one of HTTP/1.1', 502)
    const lines = taken.value.value
    rest = Buffer.from(taken.bytes.subarray(lines.size))
    const status = statusOf(lines)
    if (status === undefined) return refused('its answer is not one of HTTP/1.1', 502)
    const isUpgrade = status === 101 && target.scheme.startsWith('ws')
    const text = answerText(lines, isUpgrade)
    if (scan.finds(text)) return refused('its answer repeats a secret', 502)
    if (!(await send(client, text))) return 'done'
    if (isUpgrade) {
      server.unshift(rest)
      return 'upgraded'
    }
    if (status < 200) continue
    await passAnswerBody(
      server,
      client,
      { left: lengthOf(lines, status, head.method), rest, scan },
      watch,
    )
    return 'done'
  }
  return refused('it answers without an end', 502)
}

interface AnswerBody {
  /** Infinity where the connection's end is its end. */
  readonly left: number
  readonly rest: Buffer
  readonly scan: SecretScan
}

async function passAnswerBody(
  server: Duplex,
  client: Duplex,
  { left, rest, scan }: AnswerBody,
  watch: Watch,
): Promise<void> {
  let open = left
  for (let chunk: Buffer | undefined = rest; chunk; chunk = await nextChunk(server)) {
    const own = chunk.subarray(0, open)
    open -= own.length
    if (!watch.received()) return
    if (scan.finds(own)) return watch.cut('its answer repeats a secret')
    if (own.length > 0 && !(await send(client, own))) return
    if (open <= 0) break
  }
  client.end()
}

function statusOf({ first }: Lines): number | undefined {
  const [, digits] = /^HTTP\/1\.[01] ([1-5]\d\d)( .*)?$/.exec(first) ?? []
  return digits === undefined ? undefined : Number(digits)
}

function lengthOf({ headers }: Lines, status: number, method: string): number {
  if (method === 'HEAD' || status === 204 || status === 304) return 0
  const [length = '', ...others] = valuesOf(headers, 'content-length')
  const isPlain = others.length === 0 && wordsOf(headers, 'transfer-encoding').length === 0
  return isPlain && /^\d{1,15}$/.test(length) ? Number(length) : Infinity
}

function answerText({ first, headers }: Lines, isUpgrade: boolean): Buffer {
  const kept = headers.filter(
    ([name]) =>
      !/^(connection|keep-alive|proxy-.*)$/i.test(name) ||
      (isUpgrade && /^connection$/i.test(name)),
  )
  const lines = kept.map(([name, value]) => `${name}: ${value}`)
  const end = isUpgrade ? [] : ['Connection: close']
  return Buffer.from([first, ...lines, ...end, '', ''].join('\r\n'), 'latin1')
}
