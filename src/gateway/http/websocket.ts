/**
 * Jobs over WebSocket (RFC 6455), by the `ws` package: one job a connection.
 *
 * Errors before the upgrade are HTTP responses; later errors are a `problem` frame and a close code. The
 * first message is the job; a second one, or a close, cancels it.
 *
 * Limits: `ws` bounds a message only after its header, so bytes are also counted on the raw socket against the shared
 * body limit, however the message is fragmented; after the job a client may send little more than pings. Compression is
 * off (no decompression bombs). Pings are answered within a budget, and a client idle for `writeMs` is disconnected.
 *
 * Not handled: resuming. A broken connection ends its job; use SSE with an idempotency key for that.
 */

import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { MayflyError } from '../../contract/error.ts'
import type { StrictJson } from '../../lib/strict-json.ts'
import { authorise } from './auth.ts'
import { parseBody, anonymousAt, tooLarge } from './body.ts'
import { BodyDeadline } from './body-deadline.ts'
import type { GatewayParts, JobStart } from './parts.ts'
import {
  contentReader,
  readJob,
  type ActiveContentJob,
  type ContentParts,
  type ContentReader,
} from '../doors/executions.ts'
import { holdAnswer, refuseUnread } from '../doors/stored-outcome.ts'
import { inspectRequest } from './inspect-request.ts'
import { refuseForeignPages } from './origin.ts'
import { clientGroup } from './client-address.ts'
import { authenticateRequest, refuseChanged, refuseOver } from './authenticate-request.ts'
import { endUnread, makeUpgrader, WebSocketStream } from './websocket-stream.ts'
import {
  makeTerminalServer,
  serveTerminal,
  sessionOfTerminal,
  terminalRoute,
  type TerminalParts,
} from './websocket-terminal.ts'
import { traceOf } from './request-trace.ts'
import { startJob } from './start-job.ts'

const FRAGMENTS_MAX = 1024
/** Maximum header size of one fragment. */
const HEAD_BYTES_MAX = 14
/** Bytes after the job: its cancelling message, and in each second a control frame. */
const LATER_BYTES_MAX = 65_536
const CONTROL_BYTES_MAX = 131
/** Close codes: 4000 + HTTP status, e.g. 4401. */
const DONE = 1000
const GOING_AWAY = 1001
const ONE_JOB_ONLY = 1008
const STATUS_BASE = 4000

/** Paths that accept WebSockets; each validates headers before the first message. */
const calls: Readonly<
  Record<string, (parts: ContentParts, incoming: IncomingMessage) => ContentReader>
> = {
  '/v1/executions': jobReader,
  '/active-content': (parts, incoming) => contentReader(parts, { incoming }, 'websocket'),
}

type ConversationParts = JobStart & Pick<GatewayParts, 'answers' | 'bodies' | 'limits'>
/** Dependencies of both handlers that accept WebSockets. */
export type SocketParts = ContentParts &
  ConversationParts &
  TerminalParts &
  Pick<GatewayParts, 'requestTrace'>

export interface WebSockets {
  /** Ends every connection. */
  close(): void
}

/** Answers WebSocket upgrades on `paths`. `refuse` answers over HTTP before the upgrade and returns the status. */
export function answerSockets(
  server: Server,
  parts: SocketParts,
  paths: readonly string[],
  refuse: (socket: Socket, thrown: unknown) => number,
): WebSockets {
  const routes = new Set(paths)
  const open = new Set<WebSocket>()
  const terminals = makeTerminalServer()
  const hold = (client: WebSocket): void => {
    open.add(client)
    client.once('close', () => open.delete(client))
  }
  const limits = { maxPayload: parts.limits.bodyBytes, maxFragments: FRAGMENTS_MAX }
  const upgrader = makeUpgrader(limits)
  server.on('upgrade', (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
    const answered = parts.requestTrace.followUpgrade(incoming, routes)
    try {
      inspectRequest(incoming, parts.names, parts.limits.headerLines)
      const path = incoming.url!.split('?', 1)[0]!
      const session = routes.has(terminalRoute) ? sessionOfTerminal(path) : undefined
      if (!routes.has(path) && session === undefined)
        throw new MayflyError('NOT_FOUND', 'Cannot find this path')
      parts.running.refuseWhenDraining()
      if (session !== undefined) {
        answered(400)
        const opened = (client: WebSocket): void => {
          answered(101)
          hold(client)
        }
        const upgrade = { incoming, socket, head }
        void serveTerminal(parts, session, upgrade, { server: terminals, opened }).catch((thrown) =>
          answered(refuse(socket, thrown)),
        )
        return
      }
      const read = calls[path]!(parts, incoming)
      // `ws` itself responds with 400 to an invalid handshake, without calling the callback.
      answered(400)
      upgrader.handleUpgrade(incoming, socket, head, (opened) => {
        answered(101)
        hold(opened)
        void converse(parts, opened, socket, read)
      })
    } catch (thrown) {
      answered(refuse(socket, thrown))
    }
  })
  return {
    close: () => {
      for (const socket of open) {
        socket.close(GOING_AWAY)
        socket.terminate()
      }
    },
  }
}

/** True for a WebSocket upgrade by GET; any other upgrade header is ignored. */
export function isSocketRequest(incoming: IncomingMessage): boolean {
  return incoming.headers.upgrade?.toLowerCase() === 'websocket' && incoming.method === 'GET'
}

/** Takes the key from a header, or from the message as `token`; never from the URL, which ends up in logs. */
function jobReader(parts: ContentParts, incoming: IncomingMessage): ContentReader {
  refuseForeignPages(incoming)
  const { authorization } = incoming.headers
  if (authorization === undefined) refuseOver(parts.addressRate.take(clientGroup(incoming)))
  const known = authorization === undefined ? undefined : authenticateRequest(parts, { incoming })
  if (known) authorise(known, ['run'])
  const read = (body: StrictJson): ActiveContentJob => {
    if (known) refuseChanged(parts, incoming, known)
    const { token, ...asked } = isRecord(body.value) ? body.value : {}
    const identity = known ?? authenticateRequest(parts, { incoming }, `Bearer ${String(token)}`)
    authorise(identity, ['run'])
    const value = token === undefined ? body.value : asked
    const more = { origin: 'websocket', ...traceOf(incoming) } as const
    const job = readJob(parts, { ...body, value }, { ...identity, ...more })
    return { job, quotas: parts.quotas, begin: () => undefined }
  }
  return { of: known?.tenant ?? anonymousAt(incoming), read }
}

/** Serves one connection, from its first message to its close. */
async function converse(
  parts: ConversationParts,
  socket: WebSocket,
  raw: Socket,
  { of, read, sendsPlan = false }: ContentReader,
): Promise<void> {
  using stream = new WebSocketStream(socket, raw)
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => socket.terminate())
  oneMessageOnly(socket)
  raw.setTimeout(parts.limits.writeMs, () => socket.terminate())
  try {
    const bytes = await firstMessage(parts, { socket, raw, of }, stream)
    boundLater(socket, raw)
    const asked = await parts.bodies.turn(of, () => read(parseBody(bytes, 'input')))
    await runOne(parts, { socket, raw, of }, stream, { ...asked, sendsPlan })
    socket.close(DONE)
  } catch (thrown) {
    if (socket.readyState === socket.OPEN) {
      const problem = parts.refusals.problem(thrown)
      await stream.last('problem', JSON.stringify(problem))
      socket.close(STATUS_BASE + problem.status)
      endUnread(raw)
    }
  }
  await gone
}

interface SocketReader {
  readonly socket: WebSocket
  readonly raw: Socket
  /** Sender as known before its message. */
  readonly of: string
}

async function runOne(
  parts: JobStart & Pick<GatewayParts, 'answers'>,
  { socket, raw, of }: SocketReader,
  stream: WebSocketStream,
  { job, quotas, begin, sendsPlan }: ActiveContentJob & { readonly sendsPlan: boolean },
): Promise<void> {
  if (socket.readyState !== socket.OPEN) return
  const reader = job.origin === 'page' ? of : job.tenant
  refuseUnread(parts, reader)

  using _place = begin()
  const started = startJob({ ...parts, quotas }, job, { send: stream.send.bind(stream), sendsPlan })
  socket.once('close', started.cancel)
  socket.once('message', started.cancel)
  try {
    const { text } = await started.ended
    if (socket.readyState !== socket.OPEN) return
    holdAnswer(parts, { outgoing: raw }, reader, text, job.id)
    await stream.last('outcome', text)
  } finally {
    started.answered()
  }
}

/** Listens from the start: two messages may arrive in one read. */
function oneMessageOnly(socket: WebSocket): void {
  socket.once('message', () =>
    socket.once('message', () => socket.close(ONE_JOB_ONLY, 'one job a connection')),
  )
}

/** Waits for the first message, and charges received bytes to the shared body limit however they are fragmented. */
async function firstMessage(
  parts: Pick<GatewayParts, 'bodies' | 'limits'>,
  { socket, raw, of }: SocketReader,
  stream: WebSocketStream,
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()

  using held = parts.bodies.hold(of)
  const bytesMax = parts.bodies.bytesMax(of)
  let length = 0
  const count = (chunk: Buffer): void => {
    try {
      deadline.received(chunk.length)
      stream.heard()
      length += chunk.length
      if (length > bytesMax + FRAGMENTS_MAX * HEAD_BYTES_MAX) throw tooLarge(bytesMax)
      held.add(chunk.length)
    } catch (thrown) {
      reject(thrown)
    }
  }
  const late = () =>
    reject(new MayflyError('REQUEST_TIMEOUT', 'Cannot read the job: it did not arrive in time'))

  using deadline = new BodyDeadline(parts.limits.bodyMs, late)
  raw.on('data', count)
  socket.once('message', (data: RawData, isBinary: boolean) => {
    if (!isBinary) return resolve(data as Buffer)
    reject(
      new MayflyError('UNSUPPORTED_MEDIA_TYPE', 'Cannot read a binary message: send JSON text'),
    )
  })
  socket.once('close', () =>
    reject(new MayflyError('SYNTAX', 'Cannot read the job: the connection ended before it')),
  )
  try {
    return await promise
  } finally {
    raw.off('data', count)
  }
}

/**
 * Disconnects a client that keeps sending after its job: `ws` would buffer an endless second message up to the size
 * of the largest body, outside any budget, for as long as the job runs.
 */
function boundLater(socket: WebSocket, raw: Socket): void {
  const began = performance.now()
  let length = 0
  raw.on('data', (chunk: Buffer) => {
    length += chunk.length
    const seconds = (performance.now() - began) / 1000
    if (length > LATER_BYTES_MAX + seconds * CONTROL_BYTES_MAX) socket.terminate()
  })
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
