import { request as askFor, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import * as z from 'zod'
import { placeCredentials, SecretScan } from './credentials.ts'
import { refused, type Header, type Refused } from './head.ts'
import { readHost } from './host.ts'
import type { Entry } from './entry.ts'
import { isLookUp, lookUp } from './look-up.ts'
import { nameAsRead, notPlain, overridingOf } from './overriding.ts'
import { deny, handshakeBytesMax, over, reach, secured, whyCut, withdraw } from './reach.ts'
import { redirected, type Hop } from './redirect.ts'
import { usedUp, type Direction } from './budget.ts'
import type { EgressRequest } from './rules.ts'
import { authorityText } from './target.ts'
import type { Terms } from './terms.ts'
import { asksForCredentials, forwardedHeaders } from './upstream.ts'
import { parseJson } from '../lib/parse-json.ts'

export interface FetchTerms extends Terms {
  /** Bytes of one answer's body. */
  readonly bodyBytesMax?: number
  readonly timeoutMs?: number
}

/** Requests of a guest that has no sockets: text in, text out. */
export interface Fetcher {
  /** Takes a request as JSON, answers a response or an error as JSON; never rejects for what a guest asks. */
  fetch(text: string): Promise<string>
  /** Ends what is in force no longer lets go on, and gives up what is being opened; answers how many were open. */
  tighten(): number
  /** Ends all that is open, and takes no more. */
  close(): void
}

const openMax = 64
const redirectsMax = 20
const bodyBytesMax = 4 * 2 ** 20
const timeoutMsMax = 60_000

const asked = z.strictObject({
  url: z.string().max(65_536),
  method: z.string().regex(/^[A-Z]{1,20}$/),
  headers: z
    .array(
      z.tuple([
        z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$/),
        z
          .string()
          .max(8192)
          .regex(/^[\t\x20-\x7e\x80-\xff]*$/),
      ]),
    )
    .max(100),
  body: z.base64().nullable(),
  redirect: z.enum(['follow', 'manual', 'error']),
})
type Asked = z.infer<typeof asked>

/** Brokered requests of one run, by the same rules, ledger and credentials as its proxy. */
export function openFetch(terms: FetchTerms): Fetcher {
  const open = new Set<Live>()
  let isClosed = false
  return {
    async fetch(text) {
      const read = asked.safeParse(parsed(text))
      if (isClosed || !read.success) return failure(refused('the request cannot be read'))
      if (open.size >= openMax) return failure(refused(`${openMax} requests are open already`, 503))
      const live: Live = {}
      open.add(live)
      try {
        return await follow(read.data, terms, live)
      } finally {
        open.delete(live)
      }
    },
    tighten() {
      withdraw(terms)
      return [...open].filter(({ way }) => way && cutIfOut(way, terms)).length
    },
    close() {
      isClosed = true
      terms.ledger.end(over)
      for (const { way } of open) if (way) cut(way, over)
    },
  }
}

/** One request as JSON to one response as JSON, redirects followed and each decided on its own. */
export function brokeredFetch(text: string, terms: FetchTerms): Promise<string> {
  return openFetch(terms).fetch(text)
}

interface Way {
  readonly request: EgressRequest
  readonly entry: Entry
  readonly socket: Socket
}

interface Live {
  way?: Way | undefined
}

function cutIfOut(way: Way, terms: Terms): boolean {
  const why = whyCut(way.request, terms)
  if (why !== undefined) cut(way, why)
  return why !== undefined
}

function cut({ entry, socket }: Way, because: string): void {
  entry.cut(because)
  socket.destroy()
}

async function follow(first: Asked, terms: FetchTerms, live: Live): Promise<string> {
  const body = first.body === null ? undefined : Buffer.from(first.body, 'base64')
  let hop: Hop = { ...first, body }
  for (let hops = 0; hops <= redirectsMax; hops++) {
    const answer = await ask(hop, terms, live)
    if ('kind' in answer) return failure(answer)
    const next = redirected(hop, answer.status, answer.location)
    if (!next || first.redirect === 'manual') return success(hop, answer, hops > 0)
    if (first.redirect === 'error') return failure(refused('it answers with a redirect', 502))
    hop = next
  }
  return failure(refused('it answers with redirects without an end', 502))
}

interface Answer {
  readonly status: number
  readonly statusText: string
  readonly headers: readonly Header[]
  readonly location: string | undefined
  readonly body: Buffer
}

async function ask(hop: Hop, terms: FetchTerms, live: Live): Promise<Answer | Refused> {
  const request = requestOf(hop)
  if (!request) return refused('this is no http address of a host')
  const { scheme, host, port } = request
  if (notFetched.has(hop.method)) return deny(request, `"${hop.method}" is not fetched`, terms)
  if (isLookUp(request)) return lookedUp(new URL(hop.url), terms)
  const placed = placeCredentials(hop.headers, { scheme, host, port }, terms.credentials ?? [])
  if (placed.kind === 'denied') return deny(request, placed.because, terms)
  const written = writtenHeaders(hop, placed.headers, placed.secrets.length > 0)
  const head = headText(hop, written)
  if (!isHeeded([head, hop.body], terms)) return deny(request, 'it carries a planted secret', terms)
  const way = await reach(request, terms, ({ socket, entry }) => {
    live.way = { request, socket, entry }
    socket.on('error', () => socket.destroy())
  })
  if (way.kind === 'refused') return way
  const { socket, entry } = way
  const own: Way = { request, entry, socket }
  const timer = setTimeout(() => cut(own, 'it took too long'), terms.timeoutMs ?? timeoutMsMax)
  try {
    const isTls = scheme === 'https'
    if (isTls && !entry.reserve(handshakeBytesMax)) return overdrawn(own, 'send')
    const stream = isTls ? await secured(way, host, terms) : socket
    if ('kind' in stream) return stream
    const { forwarding } = way
    const more = forwardedHeaders(forwarding)
    const origin = forwarding ? new URL(hop.url).origin : ''
    const bytes =
      head.length + headBytesOf(more) + origin.length + bareBodyBytesMax + (hop.body?.length ?? 0)
    if (!entry.reserve(bytes)) return overdrawn(own, 'send')
    const answer = await exchanged(stream, hop, [...written, ...more], origin)
    if (forwarding && answer.statusCode === 407) return asksForCredentials
    const { credentials } = forwarding ?? {}
    const secrets = [...placed.secrets, ...(credentials === undefined ? [] : [credentials])]
    return await collected(answer, own, terms, new SecretScan(secrets))
  } catch {
    return refused(entry.isCut ? entry.because : `"${host}" broke off`, 502)
  } finally {
    clearTimeout(timer)
    socket.destroy()
    entry.end()
    live.way = undefined
  }
}

async function lookedUp({ pathname, search }: URL, terms: Terms): Promise<Answer | Refused> {
  const found = await lookUp({ path: pathname, query: search }, terms)
  if (found.kind === 'refused') return found
  const headers = [['content-type', 'application/json'] as const]
  const body = Buffer.from(found.body)
  return { status: 200, statusText: 'OK', headers, location: undefined, body }
}

/** No `fetch` anywhere does: the first opens a tunnel, in which nothing would be read; the second has all headers told back. */
const notFetched: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK'])

const ownHeaders =
  /^(host|connection|max-forwards|content-length|transfer-encoding|proxy-.*|keep-alive|te|trailer|upgrade|expect|accept-encoding)$/

/** All headers as they are written, but for what Node adds where a request that may have a body has none. */
function writtenHeaders(hop: Hop, headers: readonly Header[], plain: boolean): readonly Header[] {
  const request = requestOf(hop)!
  const scheme = request.scheme === 'https' ? 'https' : 'http'
  const kept = headers.filter(([written]) => {
    const name = nameAsRead(written)
    return !ownHeaders.test(name) && !(plain && notPlain.test(name))
  })
  const length = hop.body ? [['Content-Length', String(hop.body.length)] as const] : []
  return [
    ['Host', authorityText({ ...request, scheme })],
    ...kept,
    ...length,
    ['Accept-Encoding', 'identity'],
    ['Connection', 'close'],
  ]
}

/** The head as it is written. */
function headText(hop: Hop, headers: readonly Header[]): Buffer {
  const first = `${hop.method} ${targetOf(hop)} HTTP/1.1`
  const lines = headers.map(([name, value]) => `${name}: ${value}`)
  return Buffer.from([first, ...lines, '', ''].join('\r\n'), 'latin1')
}

function isHeeded(pieces: readonly (Buffer | undefined)[], { heed }: Terms): boolean {
  const passes = heed?.()
  return pieces.every((piece) => !piece || passes?.(piece) !== false)
}

/** `Transfer-Encoding: chunked` and the last chunk, of a POST without a body. */
const bareBodyBytesMax = 64

function targetOf({ url }: Hop): string {
  const { pathname, search } = new URL(url)
  return pathname + search
}

function headBytesOf(headers: readonly Header[]): number {
  return headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0)
}

function exchanged(
  stream: Socket,
  hop: Hop,
  headers: readonly Header[],
  origin: string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asking = askFor({
      createConnection: () => stream,
      method: hop.method,
      path: origin + targetOf(hop),
      headers: headers.flat(),
      setHost: false,
      maxHeaderSize: 64 * 1024,
    })
    asking.once('response', resolve)
    asking.once('upgrade', () => reject(new Error('it answers with another protocol')))
    asking.on('error', reject)
    // Whatever else became of it: nobody waits for an answer that cannot come any more.
    asking.once('close', () => reject(new Error('it ends without an answer')))
    asking.end(hop.body)
  })
}

async function collected(
  answer: IncomingMessage,
  way: Way,
  { ledger, bodyBytesMax: bytesMax = bodyBytesMax }: FetchTerms,
  scan: SecretScan,
): Promise<Answer | Refused> {
  const headers = pairs(answer.rawHeaders)
  const chunks: Buffer[] = []
  let length = 0
  const lines = [answer.statusMessage ?? '', ...headers.map((header) => header.join(': '))]
  if (scan.finds(Buffer.from(lines.join('\r\n'), 'latin1'))) return repeated(way)
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    way.entry.count()
    if (ledger.overdrawn) return overdrawn(way, ledger.overdrawn)
    if (scan.finds(chunk)) return repeated(way)
    length += chunk.length
    if (length > bytesMax) {
      cut(way, 'its answer is too long')
      return refused(`its answer has more than ${bytesMax} bytes`, 413)
    }
    chunks.push(chunk)
  }
  const { statusCode: status = 0, statusMessage: statusText = '' } = answer
  const { location } = answer.headers
  return { status, statusText, headers, location, body: Buffer.concat(chunks) }
}

function overdrawn(way: Way, what: Direction): Refused {
  cut(way, usedUp(what))
  return refused(usedUp(what), 403)
}

function repeated(way: Way): Refused {
  cut(way, 'its answer repeats a secret')
  return refused('its answer repeats a secret', 502)
}

/** A URL was read by the guest's own parser, which is the same; what is left over is refused here. */
function requestOf({ url: text, method, headers }: Hop): EgressRequest | undefined {
  const url = URL.parse(text)
  const scheme = url?.protocol === 'https:' ? 'https' : 'http'
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) return undefined
  const host = readHost(url.hostname)
  const port = url.port === '' ? (scheme === 'https' ? 443 : 80) : Number(url.port)
  if (host === undefined || port === 0) return undefined
  return { scheme, host, port, method, path: url.pathname, overriddenBy: overridingOf(headers) }
}

function pairs(raw: readonly string[]): readonly Header[] {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ''] as const] : []))
}

function success({ url }: Hop, answer: Answer, isRedirected: boolean): string {
  const { status, statusText, headers, body } = answer
  const { href } = new URL(url)
  return JSON.stringify({
    status,
    statusText,
    headers,
    redirected: isRedirected,
    url: href.replace(/#.*$/, ''),
    body: body.toString('base64'),
  })
}

function failure({ status, because }: Refused): string {
  const code = status === 403 ? 'EGRESS_DENIED' : 'EGRESS_FAILED'
  return JSON.stringify({ error: { code, message: `Cannot fetch it: ${because}` } })
}

function parsed(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}
