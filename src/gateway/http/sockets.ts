import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { WebSocketServer, type RawData, type WebSocket } from 'ws'
import { MayflyError } from '../../contract/error.ts'
import type { StrictJson } from '../../lib/strict-json.ts'
import { authorise } from './auth.ts'
import { parseBody, strangers, tooLarge } from './body.ts'
import type { Door } from './door.ts'
import { contentReader, readJob, type Content, type Reader } from '../doors/executions.ts'
import { inspect } from './front.ts'
import { refuseForeignPages } from './origin.ts'
import { addressGroup } from './rate.ts'
import { admit, refuseOver } from './admit.ts'
import { SocketStream } from './socket-stream.ts'
import { traceOf } from './trail.ts'
import { undertake } from './undertake.ts'

const FRAGMENTS_MAX = 1024
/** Of one fragment. */
const HEAD_BYTES_MAX = 14
/** Close codes: an HTTP status is 4000 more, so 4401 is what 401 would have been. */
const DONE = 1000
const GOING_AWAY = 1001
const ONE_JOB_ONLY = 1008
const STATUS_BASE = 4000

/** The paths that take connections: each checks what can be known before the first message. */
const calls: Readonly<Record<string, (door: Door, incoming: IncomingMessage) => Reader>> = {
  '/v1/executions': jobReader,
  '/active-content': (door, incoming) => contentReader(door, { incoming }, 'websocket'),
}

export interface Sockets {
  /** Ends every connection. */
  close(): void
}

/**
 * Answers WebSocket upgrades of a server on `paths`: one job a connection. What is wrong before the upgrade is
 * answered over HTTP through `refuse`, which returns the status, and later with a frame `problem` and a close code.
 */
export function answerSockets(
  server: Server,
  door: Door,
  paths: readonly string[],
  refuse: (socket: Socket, thrown: unknown) => number,
): Sockets {
  const routes = new Set(paths)
  const open = new Set<WebSocket>()
  const upgrader = new WebSocketServer({
    noServer: true,
    maxPayload: door.limits.bodyBytes,
    maxFragments: FRAGMENTS_MAX,
    perMessageDeflate: false,
    autoPong: false,
    clientTracking: false,
  })
  server.on('upgrade', (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
    const answered = door.trail.followUpgrade(incoming, routes)
    try {
      inspect(incoming, door.names, door.limits.headerLines)
      const path = incoming.url!.split('?', 1)[0]!
      if (!routes.has(path)) throw new MayflyError('NOT_FOUND', 'Cannot find this path')
      door.running.refuseWhenDraining()
      const read = calls[path]!(door, incoming)
      // What is said where the handshake itself is wrong, and the next is not reached.
      answered(400)
      upgrader.handleUpgrade(incoming, socket, head, (opened) => {
        answered(101)
        open.add(opened)
        opened.once('close', () => open.delete(opened))
        void converse(door, opened, socket, read)
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

/** Whether a request wants a WebSocket; any other upgrade is answered as if it asked for none. */
export function isSocketRequest(incoming: IncomingMessage): boolean {
  return incoming.headers.upgrade?.toLowerCase() === 'websocket' && incoming.method === 'GET'
}

/** The key is in a header, or in the message as `token`: never in the address, which others write down. */
function jobReader(door: Door, incoming: IncomingMessage): Reader {
  refuseForeignPages(incoming)
  const { authorization } = incoming.headers
  if (authorization === undefined)
    refuseOver(door.addressRate.take(addressGroup(incoming.socket.remoteAddress)))
  const known = authorization === undefined ? undefined : admit(door, { incoming })
  if (known) authorise(known, ['run'])
  const read = (body: StrictJson): Content => {
    const { token, ...asked } = isRecord(body.value) ? body.value : {}
    const who = known ?? admit(door, { incoming }, `Bearer ${String(token)}`)
    authorise(who, ['run'])
    const value = token === undefined ? body.value : asked
    const more = { origin: 'websocket', ...traceOf(incoming) } as const
    return { job: readJob(door, { ...body, value }, { ...who, ...more }), begin: () => undefined }
  }
  return { of: known?.tenant ?? strangers, read }
}

/** One connection, from its first message to its close. */
async function converse(
  door: Door,
  socket: WebSocket,
  raw: Socket,
  { of, read, hearsPlan = false }: Reader,
): Promise<void> {
  using stream = new SocketStream(socket)
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => socket.terminate())
  oneMessageOnly(socket)
  raw.setTimeout(door.limits.writeMs, () => socket.terminate())
  try {
    const bytes = await firstMessage(door, socket, raw, of)
    const body = await door.bodies.turn(of, () => parseBody(bytes, 'input'))
    await runOne(door, socket, stream, { ...read(body), hearsPlan })
    socket.close(DONE)
  } catch (thrown) {
    if (socket.readyState === socket.OPEN) {
      const problem = door.refusals.problem(thrown)
      await stream.last('problem', JSON.stringify(problem))
      socket.close(STATUS_BASE + problem.status)
    }
  }
  await gone
}

async function runOne(
  door: Door,
  socket: WebSocket,
  stream: SocketStream,
  { job, begin, hearsPlan }: Content & { readonly hearsPlan: boolean },
): Promise<void> {
  if (socket.readyState !== socket.OPEN) return

  using _place = begin()
  const under = undertake(door, job, { send: stream.send.bind(stream), hearsPlan })
  socket.once('close', under.cancel)
  socket.once('message', under.cancel)
  try {
    const { text } = await under.ended
    if (socket.readyState === socket.OPEN) await stream.last('outcome', text)
  } finally {
    under.answered()
  }
}

/** Heard from the start on: two messages may arrive at once. */
function oneMessageOnly(socket: WebSocket): void {
  socket.once('message', () =>
    socket.once('message', () => socket.close(ONE_JOB_ONLY, 'one job a connection')),
  )
}

/** Bytes on the way count against the bound for all bodies, however they are cut into fragments. */
async function firstMessage(
  door: Door,
  socket: WebSocket,
  raw: Socket,
  of: string,
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()

  using held = door.bodies.hold(of)
  const bytesMax = door.bodies.bytesMax(of)
  let length = 0
  const count = (chunk: Buffer): void => {
    try {
      length += chunk.length
      if (length > bytesMax + FRAGMENTS_MAX * HEAD_BYTES_MAX) throw tooLarge(bytesMax)
      held.add(chunk.length)
    } catch (thrown) {
      reject(thrown)
    }
  }
  const late = () => reject(new MayflyError('REQUEST_TIMEOUT', 'Cannot wait any longer for a job'))
  const timer = setTimeout(late, door.limits.bodyMs)
  raw.on('data', count)
  socket.once('message', (data: RawData, isBinary: boolean) => {
    if (!isBinary) return resolve(data as Buffer)
    reject(
      new MayflyError('UNSUPPORTED_MEDIA_TYPE', 'Cannot read a binary message: send JSON text'),
    )
  })
  socket.once('close', () =>
    reject(new MayflyError('SYNTAX', 'The connection ended before a job came')),
  )
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    raw.off('data', count)
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
