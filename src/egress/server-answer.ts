import type { Duplex } from 'node:stream'
import { answerReader, carried, type Framing } from './body.ts'
import type { SecretScan } from './credentials.ts'
import {
  readLines,
  refused,
  valuesOf,
  wordsOf,
  type Lines,
  type Refused,
  type RequestHead,
} from './head.ts'
import { nextChunk, send, takeFrom } from './streams.ts'
import type { Target } from './target.ts'
import { asksForCredentials } from './upstream.ts'
import { cutUnread, type Watch } from './watch.ts'

export interface Answering {
  readonly head: RequestHead
  readonly target: Extract<Target, { kind: 'request' }>
  /** Finds what the answer may not repeat. */
  readonly scan: SecretScan
  /** A proxy answers, perhaps for itself. */
  readonly isForwarded: boolean
}

const answerHeadBytesMax = 64 * 1024
const interimMax = 8

/** Passes interim answers, the answer's head and its body. A refusal means that nothing has been passed. */
export async function passAnswer(
  server: Duplex,
  client: Duplex,
  { head, target, scan, isForwarded }: Answering,
  watch: Watch,
): Promise<Refused | 'upgraded' | 'done'> {
  let rest = Buffer.alloc(0)
  for (let interim = 0; interim < interimMax; interim++) {
    const taken = await takeFrom(server, (bytes) => readLines(bytes, answerHeadBytesMax), rest)
    if (!watch.received()) return 'done'
    if (!taken || 'kind' in taken) return refused('its answer is not one of HTTP/1.1', 502)
    const lines = taken.value.value
    rest = Buffer.from(taken.bytes.subarray(lines.size))
    const status = statusOf(lines)
    if (status === undefined) return refused('its answer is not one of HTTP/1.1', 502)
    if (isForwarded && status === 407) return asksForCredentials
    const isUpgrade = status === 101 && target.scheme.startsWith('ws')
    const framing = framingOf(lines, status, head.method)
    if (!framing && scan.isNeeded) return refused('its answer is coded and cannot be read', 502)
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
    await cutUnread(watch, 'the body of its answer', () => passBody(server, client, body, watch))
    return 'done'
  }
  return refused('it answers without an end', 502)
}

interface Body {
  readonly framing: Framing
  readonly rest: Buffer
  readonly scan: SecretScan
  /** Whether the guest gets chunks: one that speaks HTTP/1.0 cannot read them. */
  readonly isChunked: boolean
}

/** Chunks are read and written anew: they part a body wherever they like, and their trailers are left out. */
async function passBody(
  server: Duplex,
  client: Duplex,
  { framing, rest, scan, isChunked }: Body,
  watch: Watch,
): Promise<void> {
  const reader = answerReader(framing)
  const write = (own: Buffer, isLast: boolean) =>
    send(client, isChunked ? carried(own, framing, isLast) : own)
  for (let chunk: Buffer | undefined = rest; chunk; chunk = await nextChunk(server)) {
    if (!watch.received()) return
    const may = scan.pass(reader.push(chunk))
    if (!may) return watch.cut('its answer repeats a secret')
    const { isDone } = reader
    const own = isDone ? Buffer.concat([may, scan.rest()]) : may
    if ((own.length > 0 || isDone) && !(await write(own, isDone))) return
    if (isDone) break
  }
  // What broke off before its end keeps what may have become a secret.
  if (framing === untilItCloses) await write(scan.rest(), false)
  client.end()
}

const untilItCloses: Framing = { kind: 'length', length: Infinity }

function statusOf({ first }: Lines): number | undefined {
  const [, digits] = /^HTTP\/1\.[01] ([1-5]\d\d)( .*)?$/.exec(first) ?? []
  return digits === undefined ? undefined : Number(digits)
}

/** Undefined where it is coded in another way than in chunks alone: it ends with its connection then. */
function framingOf({ headers }: Lines, status: number, method: string): Framing | undefined {
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
  // Chunks to HTTP/1.1, and to HTTP/1.0 what is in them until the connection ends.
  1: /^(connection|keep-alive|proxy-.*|content-length|trailer)$/i,
  0: /^(connection|keep-alive|proxy-.*|content-length|trailer|transfer-encoding)$/i,
}

function answerText({ first, headers }: Lines, as: keyof typeof notPassedOn): Buffer {
  const kept = headers.filter(([name]) => !notPassedOn[as].test(name))
  const lines = kept.map(([name, value]) => `${name}: ${value}`)
  const end = as === 'upgrade' ? [] : ['Connection: close']
  return Buffer.from([first, ...lines, ...end, '', ''].join('\r\n'), 'latin1')
}
