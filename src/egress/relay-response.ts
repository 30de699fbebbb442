import type { Duplex } from 'node:stream'
import { responseBodyReader, encodeChunk, type Framing } from './http-body.ts'
import type { SecretScan } from './credentials.ts'
import {
  headText,
  readLines,
  refused,
  valuesOf,
  wordsOf,
  type Header,
  type HeadLines,
  type EgressRefusal,
  type RequestHead,
} from './http-head.ts'
import { nextChunk, send, readUntilParsed } from './streams.ts'
import type { RequestTarget } from './target.ts'
import { upstreamAuthRequired } from './upstream.ts'
import { cutOnParseError, type ConnectionMonitor } from './connection-monitor.ts'

export interface ResponseContext {
  readonly head: RequestHead
  readonly target: Extract<RequestTarget, { kind: 'request' }>
  /** Searches for secrets that must not reach the guest. */
  readonly scan: SecretScan
  /** True behind an upstream proxy, which may answer itself. */
  readonly isForwarded: boolean
}

const answerHeadBytesMax = 64 * 1024
/** Interim responses to one request, of the proxy and of a fetch. */
export const interimMax = 8

/** Time without input after which bytes held back from the guest are released: longer than any round trip. */
const quietMsMax = 1_000

/** Relays interim responses, the final head and its body. A refusal means that no byte was relayed. */
export async function relayResponse(
  server: Duplex,
  client: Duplex,
  { head, target, scan, isForwarded }: ResponseContext,
  watch: ConnectionMonitor,
): Promise<EgressRefusal | 'upgraded' | 'done'> {
  let rest = Buffer.alloc(0)
  for (let interim = 0; interim < interimMax; interim++) {
    const parsed = await readUntilParsed(
      server,
      (bytes) => readLines(bytes, answerHeadBytesMax),
      rest,
    )
    if (!watch.received()) return 'done'
    if (!parsed || 'kind' in parsed) return refused('the response is not HTTP/1.1', 502)
    const lines = parsed.value.value
    rest = Buffer.from(parsed.bytes.subarray(lines.size))
    const status = statusOf(lines)
    if (status === undefined) return refused('the response is not HTTP/1.1', 502)
    if (isForwarded && status === 407) return upstreamAuthRequired
    const isUpgrade = status === 101 && target.scheme.startsWith('ws')
    const framing = framingOf(lines, status, head.method)
    const isHidden = scan.needsPlainText && isEncoded(lines.headers)
    const isEmpty = framing?.kind === 'length' && framing.length === 0
    if ((scan.isNeeded && !framing) || (isHidden && !isEmpty)) return encodedAnswer
    const as = isUpgrade ? 'upgrade' : framing?.kind !== 'chunked' ? 'same' : head.minor
    const text = answerText(lines, as)
    if (scan.finds(text)) return refused('its answer repeats a secret', 502)
    if (!(await send(client, text))) return 'done'
    if (isUpgrade) {
      server.unshift(rest)
      return 'upgraded'
    }
    if (status < 200) continue
    const body = { framing: framing ?? untilItCloses, rest, scan, isChunked: as === 1 }
    await cutOnParseError(watch, 'the body of its answer', () =>
      passBody(server, client, body, watch),
    )
    return 'done'
  }
  return refused('it sends too many interim answers', 502)
}

interface Body {
  readonly framing: Framing
  readonly rest: Buffer
  readonly scan: SecretScan
  /** False for HTTP/1.0 guests, which cannot read chunks. */
  readonly isChunked: boolean
}

/** Decodes and re-encodes chunks: their boundaries could split a secret, and trailers are dropped. */
async function passBody(
  server: Duplex,
  client: Duplex,
  { framing, rest, scan, isChunked }: Body,
  watch: ConnectionMonitor,
): Promise<void> {
  const reader = responseBodyReader(framing)
  const write = (own: Buffer, isLast: boolean) =>
    send(client, isChunked ? encodeChunk(own, framing, isLast) : own)
  const next = async () => {
    if (!scan.isNeeded) return await nextChunk(server)
    const quiet = setTimeout(() => void write(scan.release(), false), quietMsMax)
    return await nextChunk(server).finally(() => clearTimeout(quiet))
  }
  for (let chunk: Buffer | undefined = rest; chunk; chunk = await next()) {
    if (!watch.received()) return
    const bytes = chunk
    const read = await watch.parse(() => reader.push(bytes))
    if (!read) return
    const may = scan.filter(read)
    if (!may) return watch.cut('its answer repeats a secret')
    const { isDone } = reader
    const own = isDone ? Buffer.concat([may, scan.flush()]) : may
    if ((own.length > 0 || isDone) && !(await write(own, isDone))) return
    if (isDone) break
  }
  // A truncated body does not release bytes held back as a possible secret.
  if (framing === untilItCloses) await write(scan.flush(), false)
  client.end()
}

const untilItCloses: Framing = { kind: 'length', length: Infinity }

function statusOf({ first }: HeadLines): number | undefined {
  const [, digits] = /^HTTP\/1\.[01] ([1-5]\d\d)( .*)?$/.exec(first) ?? []
  return digits === undefined ? undefined : Number(digits)
}

export const encodedAnswer = refused('its answer is encoded and cannot be scanned', 502)

/** True for a body in which no secret can be found: a server may compress although `identity` was requested. */
export function isEncoded(headers: readonly Header[]): boolean {
  const isOther = (name: string, plain: string) =>
    wordsOf(headers, name).some((coding) => coding !== plain)
  return isOther('content-encoding', 'identity') || isOther('transfer-encoding', 'chunked')
}

/** Undefined for codings other than plain `chunked`: the body then ends with its connection. */
function framingOf({ headers }: HeadLines, status: number, method: string): Framing | undefined {
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304)
    return { kind: 'length', length: 0 }
  const codings = wordsOf(headers, 'transfer-encoding')
  if (codings.join() === 'chunked') return { kind: 'chunked' }
  if (codings.length > 0) return undefined
  const [length = '', ...others] = valuesOf(headers, 'content-length')
  const isPlain = others.length === 0 && /^\d{1,15}$/.test(length)
  return isPlain ? { kind: 'length', length: Number(length) } : untilItCloses
}

const notPassedOn = {
  upgrade: /^(keep-alive|proxy-.*)$/i,
  same: /^(connection|keep-alive|proxy-.*)$/i,
  // HTTP/1.1 guests get chunks, HTTP/1.0 guests get the payload until close.
  1: /^(connection|keep-alive|proxy-.*|content-length|trailer)$/i,
  0: /^(connection|keep-alive|proxy-.*|content-length|trailer|transfer-encoding)$/i,
}

function answerText({ first, headers }: HeadLines, as: keyof typeof notPassedOn): Buffer {
  const kept = headers.filter(([name]) => !notPassedOn[as].test(name))
  const end = as === 'upgrade' ? [] : [['Connection', 'close'] as const]
  return headText(first, [...kept, ...end])
}
