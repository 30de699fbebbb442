import type { Duplex } from 'node:stream'
import { bodyReader, carried, type Framing } from './body.ts'
import { placeCredentials, SecretScan } from './credentials.ts'
import { valuesOf, type Header, type Refused, type RequestHead } from './head.ts'
import { nameAsRead, notPlain, overridingOf } from './overriding.ts'
import { deny, handshakeBytesMax, reach, secured } from './reach.ts'
import { passAnswer } from './server-answer.ts'
import { nextChunk, send } from './streams.ts'
import { authorityText, schemeBelow, type Place, type Target } from './target.ts'
import type { Terms } from './terms.ts'
import { forwardedHeaders, type Forwarding } from './upstream.ts'
import { cutUnread, type Watch } from './watch.ts'
import { talk } from './web-socket.ts'

export interface Asked {
  readonly head: RequestHead
  readonly target: Extract<Target, { kind: 'request' }>
  readonly framing: Framing
  /** What came after the head. */
  readonly rest: Buffer
}

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
  const { method, headers } = asked.head
  const request = { scheme, host, port, path, method, overriddenBy: overridingOf(headers) }
  const place: Place = { scheme: schemeBelow(scheme), host, port }
  const inPlace = { scheme: place.scheme, host, port }
  if (terms.upstream && method === 'TRACE') return deny(request, noTrace, terms)
  const placed = placeCredentials(headers, inPlace, terms.credentials ?? [])
  if (placed.kind === 'denied') return deny(request, placed.because, terms)
  const way = await reach(request, terms, (open) => watch.opened(request, open))
  if (way.kind === 'refused') return way
  const { forwarding } = way
  const isTls = place.scheme === 'https'
  if (isTls && !watch.sending(handshakeBytesMax)) return undefined
  const server = isTls ? await secured(way, host, terms) : way.socket
  if ('kind' in server) return server
  server.on('error', () => server.destroy())
  const secrets = [...placed.secrets, ...secretsOf(forwarding)]
  const written = { place, plain: secrets.length > 0, forwarding }
  const head = requestText(asked, placed.headers, written)
  if (!watch.passes(head) || !watch.sending(head.length)) return undefined
  if (!(await send(server, head))) return undefined
  const body = cutUnread(watch, 'the body', () => sendBody(client, server, asked, watch))
  const scan = new SecretScan(secrets)
  const answered = await passAnswer(
    server,
    client,
    { ...asked, scan, isForwarded: forwarding !== undefined },
    watch,
  )
  if (answered === 'upgraded') {
    await body
    await talk(client, server, scan, watch)
  }
  way.entry.end()
  server.destroy()
  return typeof answered === 'object' ? answered : undefined
}

const noTrace = 'a proxy is on the way out, which "TRACE" would have say what it was told'

interface Written {
  readonly place: Place
  /** A secret could not be found in a compressed answer, nor in one of several that each have a part of it. */
  readonly plain: boolean
  readonly forwarding: Forwarding | undefined
}

/** A proxy that is asked to trace would say its credentials back. */
function secretsOf(forwarding: Forwarding | undefined): readonly string[] {
  return forwarding?.credentials === undefined ? [] : [forwarding.credentials]
}

const notPassedOn =
  /^(host|connection|proxy-.*|keep-alive|te|trailer|transfer-encoding|content-length|upgrade|http2-settings)$/

/** The request as the server gets it: written from what was read, with one host and one end. */
function requestText(
  { head, target, framing }: Asked,
  headers: readonly Header[],
  { place, plain, forwarding }: Written,
): Buffer {
  const isUpgrade = target.scheme.startsWith('ws')
  const kept = headers.filter(([written]) => {
    const name = nameAsRead(written)
    return (
      !notPassedOn.test(name) &&
      !(plain && notPlain.test(name)) &&
      !(forwarding && name === 'max-forwards') &&
      // An extension would compress frames, which then could not be read.
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
  const lines = [['Host', authorityText(place)] as const, ...kept, ...own]
  const origin = forwarding ? `http://${authorityText(place)}` : ''
  const first = `${head.method} ${origin}${target.path}${target.query} HTTP/1.${head.minor}`
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
  for (; chunk; chunk = reader.isDone ? undefined : await nextChunk(client)) {
    const read = reader.push(chunk)
    if (!watch.passes(read)) return
    const own = carried(read, framing, reader.isDone)
    if (own.length === 0) continue
    if (!watch.sending(own.length) || !(await send(server, own))) return
  }
  if (!reader.isDone) server.destroy()
}
