import { readFileSync } from 'node:fs'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { attempt } from '../../lib/attempt.ts'
import { FairShare } from './fair-share.ts'
import { addressGroup } from './rate-limit.ts'
import type { GatewayLimits } from './limits.ts'

/** Maximum of pipelined requests without a response per connection. Browsers do not pipeline. */
const pipelinedMax = 32

/** Share of the descriptors of this process, for each of two servers; the others are for sockets of walls. */
const OPEN_SHARE = 0.25

/**
 * Bounds the connections of a server, with a fair share per address: idle connections that complete no handshake and no
 * request (slowloris) could otherwise occupy all of them. Nor all descriptors: at EMFILE no wall passes its sockets.
 */
export function shareConnections(server: Server, connections: number): void {
  const max = Math.min(connections, Math.floor(openFilesMax() * OPEN_SHARE))
  const share = new FairShare(max)
  server.maxConnections = max
  server.on('connection', (socket: Socket) => {
    const place = share.hold(addressGroup(socket.remoteAddress))
    if (!place.add(1)) return void socket.destroy()
    socket.once('close', () => place[Symbol.dispose]())
  })
}

/** Soft RLIMIT_NOFILE; unknown without /proc. */
function openFilesMax(): number {
  const limits = attempt(() => readFileSync('/proc/self/limits', 'utf8')) ?? ''
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Infinity)
}

/** Requests without a response, by connection. */
const unanswered = new WeakMap<Socket, number>()
const flooding = new WeakSet<Socket>()

/**
 * Refuses a request on a connection with too many pipelined ones; returns true if refused. One read(2) may contain a thousand,
 * which are parsed in one iteration of the event loop while all other clients wait. Reading then stops, and the connection
 * ends with its last response. Destroying it at once would cost more, because Node creates an error with a stack for each pending
 * request.
 */
export function refusePipelined({ socket }: IncomingMessage, outgoing: ServerResponse): boolean {
  const waiting = (unanswered.get(socket) ?? 0) + 1
  unanswered.set(socket, waiting)
  outgoing.once('close', () => {
    const left = unanswered.get(socket)! - 1
    unanswered.set(socket, left)
    if (left === 0 && flooding.has(socket)) socket.destroySoon()
  })
  if (waiting > pipelinedMax && !flooding.has(socket)) {
    flooding.add(socket)
    // Detaches Node's HTTP parser, also if it reads from the handle (`unconsume` of `_http_server`).
    socket.removeAllListeners('data')
    socket.on('data', () => undefined)
  }
  if (!flooding.has(socket)) return false
  outgoing.writeHead(503, { 'content-length': 0 }).end()
  return true
}

/** Response to which Node has assigned a connection, if any. */
export function responseOn(socket: Duplex): ServerResponse | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}

/** Connections answered before their request body was complete; later bytes get no answer. */
export const answeredEarly = new WeakSet<object>()

/**
 * Cuts off a client that stops reading its answer, and one that goes on sending a body which no door reads. The time of a
 * response begins once it is written, because a job may keep its client waiting longer.
 */
export function boundAnswer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { writeMs, bodyMs }: Pick<GatewayLimits, 'writeMs' | 'bodyMs'>,
): void {
  const { socket } = incoming
  outgoing.once('prefinish', () => outgoing.socket?.setTimeout(writeMs))
  outgoing.once('finish', () => {
    // The next pipelined one has the timeout of this.
    const next = responseOn(socket)
    if (next) socket.setTimeout(next.headersSent ? writeMs : 0)
    if (incoming.complete) return
    answeredEarly.add(socket)
    setTimeout(() => incoming.complete || socket.destroy(), bodyMs).unref()
  })
}
