import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { FairShare } from './fair-share.ts'
import { addressGroup } from './rate-limit.ts'

/** Requests of one connection that wait for their answers. Browsers send one at a time. */
const pipelinedMax = 32

/**
 * Bounds the connections of a server, and splits them between addresses: silent ones, in which no handshake and no
 * request ever ends, would otherwise keep everybody out for as long as somebody opens new ones.
 */
export function shareConnections(server: Server, max: number): void {
  const share = new FairShare(max)
  server.maxConnections = max
  server.on('connection', (socket: Socket) => {
    const place = share.hold(addressGroup(socket.remoteAddress))
    if (!place.add(1)) return void socket.destroy()
    socket.once('close', () => place[Symbol.dispose]())
  })
}

/** Requests without an answer, by connection. */
const unanswered = new WeakMap<Socket, number>()
const flooding = new WeakSet<Socket>()

/**
 * Refuses a request of a connection that has too many without an answer; true if it did. One read may hold a thousand,
 * which are parsed in one turn of the event loop while all other clients wait: no more is read then, and the connection
 * ends with its last answer. It is not destroyed at once, since Node makes an error with a stack for each pending
 * request then, which takes longer than the answers.
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
    // Takes the bytes from Node's parser, also where that reads from the handle (`unconsume` of `_http_server`).
    socket.removeAllListeners('data')
    socket.on('data', () => undefined)
  }
  if (!flooding.has(socket)) return false
  outgoing.writeHead(503, { 'content-length': 0 }).end()
  return true
}
