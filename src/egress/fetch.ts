import { request as askFor, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import * as z from 'zod'
import { placeCredentials, SecretScan } from './credentials.ts'
import { refused, type Header, type Refused } from './head.ts'
import { readHost } from './host.ts'
import type { Entry } from './ledger.ts'
import { isLookUp, lookUp } from './look-up.ts'
import { deny, over, reach, secured } from './reach.ts'
import { redirected, type Hop } from './redirect.ts'
import { decide, type EgressRequest } from './rules.ts'
import { authorityText } from './target.ts'
import type { Terms } from './terms.ts'
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
  /** Ends what the network in force no longer lets out; answers how many requests that were. */
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
      const out = [...open].filter(({ way }) => way && isOut(way.request, terms))
      for (const { way } of out) cut(way!, decide(terms.network(), way!.request).because)
      return out.length
    },
    close() {
      isClosed = true
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

function isOut(request: EgressRequest, terms: Terms): boolean {
  return decide(terms.network(), request).verdict === 'denied'
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
  if (isLookUp(request)) return lookedUp(new URL(hop.url), terms)
  const placed = placeCredentials(hop.headers, { scheme, host, port }, terms.credentials ?? [])
  if (placed.kind === 'denied') return deny(request, placed.because, terms)
  const way = await reach(request, terms)
  if (way.kind === 'refused') return way
  const { socket, entry } = way
  const own: Way = { request, entry, socket }
  live.way = own
  socket.on('error', () => socket.destroy())
  const timer = setTimeout(() => cut(own, 'it took too long'), terms.timeoutMs ?? timeoutMsMax)
  try {
    const stream = scheme === 'https' ? await secured(socket, host, terms) : socket
    if ('kind' in stream) return stream
    const bytes = 1024 + JSON.stringify(placed.headers).length + (hop.body?.length ?? 0)
    if (!terms.ledger.maySend(bytes)) return overdrawn(own, 'send')
    const answer = await exchanged(stream, hop, placed.headers)
    return await collected(answer, own, terms, new SecretScan(placed.secrets))
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

const ownHeaders =
  /^(host|connection|content-length|transfer-encoding|proxy-.*|keep-alive|te|trailer|upgrade|expect|accept-encoding)$/i

function exchanged(stream: Socket, hop: Hop, headers: readonly Header[]): Promise<IncomingMessage> {
  const url = new URL(hop.url)
  const request = requestOf(hop)!
  const scheme = request.scheme === 'https' ? 'https' : 'http'
  const kept = headers.filter(([name]) => !ownHeaders.test(name))
  const length = hop.body ? [['Content-Length', String(hop.body.length)] as const] : []
  const own = [
    ['Host', authorityText({ ...request, scheme })] as const,
    ...kept,
    ...length,
    ['Accept-Encoding', 'identity'] as const,
    ['Connection', 'close'] as const,
  ]
  return new Promise((resolve, reject) => {
    const asking = askFor({
      createConnection: () => stream,
      method: hop.method,
      path: url.pathname + url.search,
      headers: own.flat(),
      setHost: false,
      maxHeaderSize: 64 * 1024,
    })
    asking.once('response', resolve)
    asking.once('upgrade', () => reject(new Error('it answers with another protocol')))
    asking.on('error', reject)
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
  if (scan.finds(Buffer.from(JSON.stringify(headers)))) return repeated(way)
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    way.entry.count()
    if (ledger.isOverdrawn) return overdrawn(way, 'receive')
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

function overdrawn(way: Way, what: 'send' | 'receive'): Refused {
  cut(way, `the bytes that this run may ${what} are used up`)
  return refused(`the bytes that this run may ${what} are used up`, 403)
}

function repeated(way: Way): Refused {
  cut(way, 'its answer repeats a secret')
  return refused('its answer repeats a secret', 502)
}

/** A URL was read by the guest's own parser, which is the same; what is left over is refused here. */
function requestOf({ url: text, method }: Hop): EgressRequest | undefined {
  const url = URL.parse(text)
  const scheme = url?.protocol === 'https:' ? 'https' : 'http'
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) return undefined
  const host = readHost(url.hostname)
  const port = url.port === '' ? (scheme === 'https' ? 443 : 80) : Number(url.port)
  if (host === undefined || port === 0) return undefined
  return { scheme, host, port, method, path: url.pathname }
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
