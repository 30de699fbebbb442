import type { Duplex } from 'node:stream'
import { requestBodyReader, encodeChunk, type Framing } from './http-body.ts'
import { placeCredentials, SecretScan } from './credentials.ts'
import {
  headText,
  valuesOf,
  type Header,
  type EgressRefusal,
  type RequestHead,
} from './http-head.ts'
import { cgiName, partialOrEncoded, overrideHeaderOf } from './override-headers.ts'
import { deny, handshakeBytesMax, openConnection, openTls } from './open-connection.ts'
import { relayResponse } from './relay-response.ts'
import { nextChunk, send } from './streams.ts'
import { authorityText, transportScheme, type HttpOrigin, type RequestTarget } from './target.ts'
import type { EgressTerms } from './egress-terms.ts'
import { forwardedHeaders, type UpstreamForwarding } from './upstream.ts'
import { cutOnParseError, type ConnectionMonitor } from './connection-monitor.ts'
import { relayWebSocket } from './web-socket.ts'

export interface ProxiedRequest {
  readonly head: RequestHead
  readonly target: Extract<RequestTarget, { kind: 'request' }>
  readonly framing: Framing
  /** Bytes received after the head. */
  readonly rest: Buffer
}

/**
 * Relays one request and its response, each on a connection that is closed afterwards. Bytes behind the request are
 * dropped, so that no second request can be smuggled in.
 */
export async function relayRequest(
  client: Duplex,
  proxied: ProxiedRequest,
  terms: EgressTerms,
  watch: ConnectionMonitor,
): Promise<EgressRefusal | undefined> {
  const { scheme, host, port, path } = proxied.target
  const { method, headers } = proxied.head
  const request = { scheme, host, port, path, method, overriddenBy: overrideHeaderOf(headers) }
  const place: HttpOrigin = { scheme: transportScheme(scheme), host, port }
  const inPlace = { scheme: place.scheme, host, port }
  if (terms.upstream && method === 'TRACE') return deny(request, noTrace, terms)
  const placed = placeCredentials(headers, inPlace, terms.credentials ?? [])
  if (placed.kind === 'denied') return deny(request, placed.because, terms)
  const connection = await openConnection(request, terms, (open) => watch.opened(request, open))
  if (connection.kind === 'refused') return connection
  const { forwarding } = connection
  const isTls = place.scheme === 'https'
  if (isTls && !watch.sending(handshakeBytesMax)) return undefined
  const server = isTls ? await openTls(connection, host, terms) : connection.socket
  if ('kind' in server) return server
  server.on('error', () => server.destroy())
  const scan = new SecretScan(placed.secrets, secretsOf(forwarding))
  const written = { place, plain: scan.isNeeded, forwarding }
  const head = requestText(proxied, placed.headers, written)
  if (!watch.passes(head) || !watch.sending(head.length)) return undefined
  if (!(await send(server, head))) return undefined
  const body = cutOnParseError(watch, 'the body', () => sendBody(client, server, proxied, watch))
  const answered = await relayResponse(
    server,
    client,
    { ...proxied, scan, isForwarded: forwarding !== undefined },
    watch,
  )
  if (answered === 'upgraded') {
    await body
    await relayWebSocket(client, server, scan, watch)
  }
  connection.entry.end()
  server.destroy()
  return typeof answered === 'object' ? answered : undefined
}

const noTrace = '"TRACE" would make the upstream proxy echo its credentials'

interface RequestForm {
  readonly place: HttpOrigin
  /**
   * True if the answer must arrive unencoded and whole: a secret cannot be found in compressed data or in byte
   * ranges.
   */
  readonly plain: boolean
  readonly forwarding: UpstreamForwarding | undefined
}

/** Secret to scan for behind an upstream proxy, which might echo its credentials. */
function secretsOf(forwarding: UpstreamForwarding | undefined): readonly string[] {
  return forwarding?.credentials === undefined ? [] : [forwarding.credentials]
}

const notPassedOn =
  /^(host|connection|proxy-.*|keep-alive|te|trailer|transfer-encoding|content-length|upgrade|http2-settings)$/

/** Request head for the server, rewritten from the parsed one with exactly one Host and one framing. */
function requestText(
  { head, target, framing }: ProxiedRequest,
  headers: readonly Header[],
  { place, plain, forwarding }: RequestForm,
): Buffer {
  const isUpgrade = target.scheme.startsWith('ws')
  const kept = headers.filter(([written]) => {
    const name = cgiName(written)
    return (
      !notPassedOn.test(name) &&
      !(plain && partialOrEncoded.test(name)) &&
      !(forwarding && name === 'max-forwards') &&
      // permessage-deflate would make frames unreadable.
      !(isUpgrade && name === 'sec-websocket-extensions')
    )
  })
  const lengths: readonly Header[] =
    framing.kind === 'chunked'
      ? [['Transfer-Encoding', 'chunked']]
      : valuesOf(head.headers, 'content-length').map((length) => ['Content-Length', length])
  const own: readonly Header[] = [
    ...(plain ? ([['Accept-Encoding', 'identity']] as const) : []),
    ...lengths,
    ...(isUpgrade ? ([['Upgrade', 'websocket']] as const) : []),
    ['Connection', isUpgrade ? 'Upgrade' : 'close'],
    ...forwardedHeaders(forwarding),
  ]
  const origin = forwarding ? `http://${authorityText(place)}` : ''
  const first = `${head.method} ${origin}${target.path}${target.query} HTTP/1.${head.minor}`
  return headText(first, [['Host', authorityText(place)], ...kept, ...own])
}

async function sendBody(
  client: Duplex,
  server: Duplex,
  { rest, framing }: ProxiedRequest,
  watch: ConnectionMonitor,
): Promise<void> {
  const reader = requestBodyReader(framing)
  let chunk: Buffer | undefined = rest
  for (; chunk; chunk = reader.isDone ? undefined : await nextChunk(client)) {
    const bytes = chunk
    const read = await watch.parse(() => reader.push(bytes))
    if (!read || !watch.passes(read)) return
    const own = encodeChunk(read, framing, reader.isDone)
    if (own.length === 0) continue
    if (!watch.sending(own.length) || !(await send(server, own))) return
  }
  if (!reader.isDone) server.destroy()
}
