import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import * as z from 'zod'
import { placeCredentials, SecretScan } from './credentials.ts'
import { headText, refused, type Header, type EgressRefusal } from './http-head.ts'
import { readHost } from './host.ts'
import { isDnsLookup, resolveForGuest } from './dns-lookup.ts'
import { cgiName, partialOrEncoded, overrideHeaderOf } from './override-headers.ts'
import {
  deny,
  handshakeBytesMax,
  runOver,
  openConnection,
  openTls,
  whyCut,
  cancelForbidden,
  type LiveConnection,
} from './open-connection.ts'
import { nextHop, type RedirectHop } from './redirect.ts'
import { decoded } from './content-coding.ts'
import { encodedAnswer, interimMax, isEncoded } from './relay-response.ts'
import { budgetExceeded, type TrafficDirection } from './byte-budget.ts'
import type { EgressRequest } from './rules.ts'
import { authorityText } from './target.ts'
import { plantedSecret, type EgressTerms } from './egress-terms.ts'
import { upstreamAuthRequired, forwardedHeaders } from './upstream.ts'
import { tryParseJson } from '../lib/parse-json.ts'

export interface FetchTerms extends EgressTerms {
  /** Limit of one response body. */
  readonly bodyBytesMax?: number
  /** Limit of each hop, from its open connection to the last byte of its answer. */
  readonly timeoutMs?: number
}

/** HTTP client for guests without sockets: a JSON request in, a JSON response out. */
export interface Fetcher {
  /**
   * Takes a JSON request, returns a JSON response or error; never rejects for guest input. An abort of `stop` cuts its
   * connection.
   */
  fetch(text: string, stop?: AbortSignal): Promise<string>
  /** Cuts and cancels requests that the network in force no longer permits; returns how many were open. */
  tighten(): number
  /** Cuts all open requests and refuses new ones. */
  close(): void
}

/** `GuestCalls` has others wait. */
const openMax = 64
const redirectsMax = 20
const bodyBytesMax = 4 * 2 ** 20
/** A model or a long poll thinks for minutes. Places, budget and run bound what a guest can keep open. */
const timeoutMsMax = 10 * 60_000
/** Time between two looks at what a quiet server sent in TLS besides data. */
const quietMsMax = 60_000

const headerCharactersMax = 8192
const requestSchema = z.strictObject({
  url: z.string().max(65_536),
  method: z.string().regex(/^[A-Z]{1,20}$/),
  headers: z
    .array(
      z.tuple([
        z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$/),
        z
          .string()
          .max(headerCharactersMax)
          .regex(/^[\t\x20-\x7e\x80-\xff]*$/),
      ]),
    )
    .max(100),
  body: z.base64().nullable(),
  redirect: z.enum(['follow', 'manual', 'error']),
})
type FetchRequest = z.infer<typeof requestSchema>

/** Opens a client that shares rules, ledger and credentials with the run's proxy. */
export function openFetch(terms: FetchTerms): Fetcher {
  const open = new Set<LiveFetch>()
  let isClosed = false
  return {
    async fetch(text, stop) {
      const read = requestSchema.safeParse(tryParseJson(text))
      if (isClosed) return failure(refused(runOver, 503))
      if (!read.success) return failure(refused(whyUnread(read.error.issues)))
      if (open.size >= openMax) return failure(refused(`${openMax} requests are open already`, 503))
      const live: LiveFetch = { dials: new AbortController() }
      const end = () => giveUp(live)
      if (stop?.aborted) end()
      stop?.addEventListener('abort', end)
      open.add(live)
      try {
        return await follow(read.data, { ...terms, stop: live.dials }, live)
      } finally {
        open.delete(live)
        stop?.removeEventListener('abort', end)
      }
    },
    tighten() {
      cancelForbidden(terms)
      return [...open].filter(({ connection }) => connection && cutIfOut(connection, terms)).length
    },
    close() {
      isClosed = true
      terms.ledger.end(runOver)
      for (const { connection } of open) if (connection) cut(connection, runOver)
    },
  }
}

/** Names the header that is refused; the guest knows its value. */
function whyUnread([issue]: readonly z.core.$ZodIssue[]): string {
  const [part, at, of] = issue?.path ?? []
  if (part !== 'headers' || typeof at !== 'number') return 'the request cannot be read'
  const which = `its header ${at + 1}`
  if (of === 0) return `the name of ${which} is no token of 1 to 200 characters`
  return `${which} has more than ${headerCharactersMax} characters, or one that is not Latin-1 text`
}

interface LiveFetch {
  connection?: LiveConnection | undefined
  /** Stops a dial of this fetch. */
  readonly dials: AbortController
}

const givenUp = 'its caller gave it up'

function giveUp({ dials, connection }: LiveFetch): void {
  dials.abort()
  if (connection) cut(connection, givenUp)
}

function cutIfOut(connection: LiveConnection, terms: EgressTerms): boolean {
  const why = whyCut(connection, terms)
  if (why !== undefined) cut(connection, why)
  return why !== undefined
}

function cut({ entry, socket }: LiveConnection, because: string): void {
  entry.cut(because)
  socket.destroy()
}

async function follow(first: FetchRequest, terms: FetchTerms, live: LiveFetch): Promise<string> {
  const body = first.body === null ? undefined : Buffer.from(first.body, 'base64')
  let hop: RedirectHop = { ...first, body }
  for (let hops = 0; hops <= redirectsMax; hops++) {
    if (live.dials.signal.aborted) return failure(refused(givenUp, 502))
    const answer = await ask(hop, terms, live)
    if ('kind' in answer) return failure(answer)
    const next = nextHop(hop, answer.status, answer.location)
    if (!next || first.redirect === 'manual') return success(hop, answer, hops > 0)
    if (first.redirect === 'error') return failure(refused('it answers with a redirect', 502))
    hop = next
  }
  return failure(refused('it redirects too often', 502))
}

interface Answer {
  readonly status: number
  readonly statusText: string
  readonly headers: readonly Header[]
  readonly location: string | undefined
  readonly body: Buffer
}

async function ask(
  hop: RedirectHop,
  terms: FetchTerms,
  live: LiveFetch,
): Promise<Answer | EgressRefusal> {
  const request = requestOf(hop)
  if (!request) return refused('it is not a valid http or https URL')
  const { scheme, host, port } = request
  if (notFetched.has(hop.method)) return deny(request, `"${hop.method}" is not fetched`, terms)
  if (isDnsLookup(request)) return lookUpName(new URL(hop.url), terms)
  const placed = placeCredentials(hop.headers, { scheme, host, port }, terms.credentials ?? [])
  if (placed.kind === 'denied') return deny(request, placed.because, terms)
  const written = writtenHeaders(hop, placed.headers, placed.secrets.length > 0)
  const head = headText(`${hop.method} ${targetOf(hop)} HTTP/1.1`, written)
  if (!passesChecks([head, hop.body], terms)) return deny(request, plantedSecret, terms)
  const connection = await openConnection(request, terms, ({ socket, entry, address }) => {
    live.connection = { request, socket, entry, address }
    socket.on('error', () => socket.destroy())
    if (live.dials.signal.aborted) giveUp(live)
  })
  if (connection.kind === 'refused') return connection
  const { socket, entry } = connection
  const own: LiveConnection = { request, entry, socket }
  const { timeoutMs = timeoutMsMax } = terms
  const late = () => cut(own, `it took too long: more than ${timeoutMs / 1000} s`)
  const timer = setTimeout(late, timeoutMs)
  const looks = setInterval(countArrived, quietMsMax, own, terms)
  try {
    const isTls = scheme === 'https'
    if (isTls && !entry.reserve(handshakeBytesMax)) return overdrawn(own, 'send')
    const stream = isTls ? await openTls(connection, host, terms) : socket
    if ('kind' in stream) return entry.isCut ? refused(entry.because, 502) : stream
    const { forwarding } = connection
    const more = forwardedHeaders(forwarding)
    const origin = forwarding ? new URL(hop.url).origin : ''
    const bytes =
      head.length + headBytesOf(more) + origin.length + bareBodyBytesMax + (hop.body?.length ?? 0)
    if (!entry.reserve(bytes)) return overdrawn(own, 'send')
    const flooded = () => cut(own, 'it sends too many interim answers')
    const arrived = () => countArrived(own, terms)
    const answer = await exchanged(stream, hop, [...written, ...more], { origin, flooded, arrived })
    if (forwarding && answer.statusCode === 407) return upstreamAuthRequired
    const { credentials } = forwarding ?? {}
    const scan = new SecretScan(placed.secrets, credentials === undefined ? [] : [credentials])
    return await collected(answer, own, terms, scan)
  } catch {
    return refused(entry.isCut ? entry.because : `"${host}" broke off`, 502)
  } finally {
    clearTimeout(timer)
    clearInterval(looks)
    socket.destroy()
    entry.end()
    live.connection = undefined
  }
}

async function lookUpName(
  { pathname, search }: URL,
  terms: EgressTerms,
): Promise<Answer | EgressRefusal> {
  const found = await resolveForGuest({ path: pathname, query: search }, terms)
  if (found.kind === 'refused') return found
  const headers = [['content-type', 'application/json'] as const]
  const body = Buffer.from(found.body)
  return { status: 200, statusText: 'OK', headers, location: undefined, body }
}

/**
 * Forbidden in the Fetch standard too: CONNECT opens a tunnel that cannot be inspected, TRACE and TRACK echo all
 * headers.
 */
const notFetched: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK'])

const ownHeaders =
  /^(host|connection|max-forwards|content-length|transfer-encoding|proxy-.*|keep-alive|te|trailer|upgrade|expect|accept-encoding)$/

/** Request headers as sent, except those Node adds to a request without a body. */
function writtenHeaders(
  hop: RedirectHop,
  headers: readonly Header[],
  plain: boolean,
): readonly Header[] {
  const request = requestOf(hop)!
  const scheme = request.scheme === 'https' ? 'https' : 'http'
  const kept = headers.filter(([written]) => {
    const name = cgiName(written)
    return !ownHeaders.test(name) && !(plain && partialOrEncoded.test(name))
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

function passesChecks(
  pieces: readonly (Buffer | undefined)[],
  { makeOutboundCheck }: EgressTerms,
): boolean {
  const passes = makeOutboundCheck?.()
  return pieces.every((piece) => !piece || passes?.(piece) !== false)
}

/** `Transfer-Encoding: chunked` and the last chunk, which Node adds to a POST without a body. */
const bareBodyBytesMax = 64

function targetOf({ url }: RedirectHop): string {
  const { pathname, search } = new URL(url)
  return pathname + search
}

function headBytesOf(headers: readonly Header[]): number {
  return headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0)
}

interface ExchangeParts {
  /** Prefix of the request target, for an upstream proxy. */
  readonly origin: string
  /** Called at too many interim answers. */
  readonly flooded: () => void
  /** Called for each piece that came before the answer. */
  readonly arrived: () => void
}

function exchanged(
  stream: Socket,
  hop: RedirectHop,
  headers: readonly Header[],
  { origin, flooded, arrived }: ExchangeParts,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    let interim = 0
    let hasAnswer = false
    // Loaded lazily: most jobs make no request.
    const asking = process.getBuiltinModule('node:http').request({
      createConnection: () => stream,
      method: hop.method,
      path: origin + targetOf(hop),
      headers: headers.flat(),
      setHost: false,
      maxHeaderSize: 64 * 1024,
    })
    asking.once('response', (answer) => {
      hasAnswer = true
      resolve(answer)
    })
    // Node reads on without limit: interim answers, and empty lines before an answer. Its own listener comes first.
    asking.on('information', () => ++interim >= interimMax && flooded())
    asking.once('socket', () => stream.on('data', () => hasAnswer || arrived()))
    asking.once('upgrade', () => reject(new Error('the server switched to another protocol')))
    asking.on('error', reject)
    // Fallback: the connection closed without a response.
    asking.once('close', () => reject(new Error('the connection closed without a response')))
    asking.end(hop.body)
  })
}

async function collected(
  answer: IncomingMessage,
  connection: LiveConnection,
  { ledger, bodyBytesMax: bytesMax = bodyBytesMax }: FetchTerms,
  scan: SecretScan,
): Promise<Answer | EgressRefusal> {
  const headers = pairs(answer.rawHeaders)
  const chunks: Buffer[] = []
  let length = 0
  const lines = [answer.statusMessage ?? '', ...headers.map((header) => header.join(': '))]
  if (scan.finds(Buffer.from(lines.join('\r\n'), 'latin1'))) return repeated(connection)
  const isHidden = scan.needsPlainText && isEncoded(headers)
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    connection.entry.count()
    if (isHidden) return (cut(connection, encodedAnswer.because), encodedAnswer)
    if (ledger.overdrawn) return overdrawn(connection, ledger.overdrawn)
    if (scan.finds(chunk)) return repeated(connection)
    length += chunk.length
    if (length > bytesMax) {
      cut(connection, 'its answer is too long')
      return refused(`its answer has more than ${bytesMax} bytes`, 413)
    }
    chunks.push(chunk)
  }
  const { statusCode: status = 0, statusMessage: statusText = '' } = answer
  const { location } = answer.headers
  const whole = { headers, body: Buffer.concat(chunks) }
  // The budget counts the decoded form, on which this process works.
  const made = (bytes: number) => ledger.count({ received: Math.max(0, bytes - length) })
  // A range is one of the encoded bytes.
  const plain = status === 206 ? whole : await decoded(whole, bytesMax, made)
  if ('kind' in plain) return plain
  if (ledger.overdrawn) return overdrawn(connection, ledger.overdrawn)
  if (plain !== whole && scan.isIn(plain.body)) return repeated(connection)
  return { status, statusText, location, ...plain }
}

function countArrived(connection: LiveConnection, { ledger }: FetchTerms): void {
  connection.entry.count()
  if (ledger.overdrawn) overdrawn(connection, ledger.overdrawn)
}

function overdrawn(connection: LiveConnection, what: TrafficDirection): EgressRefusal {
  cut(connection, budgetExceeded(what))
  return refused(budgetExceeded(what), 403)
}

function repeated(connection: LiveConnection): EgressRefusal {
  cut(connection, 'its answer repeats a secret')
  return refused('its answer repeats a secret', 502)
}

/** Parses a URL again with the same parser as the guest, and rejects what is not plain http(s). */
function requestOf({ url: text, method, headers }: RedirectHop): EgressRequest | undefined {
  const url = URL.parse(text)
  const scheme = url?.protocol === 'https:' ? 'https' : 'http'
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password) return undefined
  const host = readHost(url.hostname)
  const port = url.port === '' ? (scheme === 'https' ? 443 : 80) : Number(url.port)
  if (host === undefined || port === 0) return undefined
  return { scheme, host, port, method, path: url.pathname, overriddenBy: overrideHeaderOf(headers) }
}

function pairs(raw: readonly string[]): readonly Header[] {
  return raw.flatMap((name, at) => (at % 2 === 0 ? [[name, raw[at + 1] ?? ''] as const] : []))
}

function success({ url }: RedirectHop, answer: Answer, isRedirected: boolean): string {
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

function failure({ status, because }: EgressRefusal): string {
  const code = status === 403 ? 'EGRESS_DENIED' : 'EGRESS_FAILED'
  return JSON.stringify({ error: { code, message: `Cannot fetch it: ${because}` } })
}
