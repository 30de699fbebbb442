import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { makeAuthority } from './authority.ts'
import type { Upstream } from './upstream.ts'

/**
 * Stubbed internet for code under inspection: an upstream proxy on loopback that connects to nothing. Every host exists,
 * every request is recorded and gets a harmless answer, so that a program which waits for its server goes on.
 *
 * The requests were parsed by the egress proxy before they get here, and are parsed again as hostile input. TLS ends here
 * with certificates of an authority that only the egress proxy of the same process trusts. Credentials made per stub keep
 * other users of the machine out.
 */
export interface NetworkStub extends AsyncDisposable {
  readonly upstream: Upstream
  /** Certificate of the authority, which the egress proxy has to trust. */
  readonly trust: readonly string[]
  /** In the order of their ends; at most `requestsMax`. */
  readonly requests: readonly StubRequest[]
  /** Requests beyond that. */
  readonly leftOut: number
}

export interface StubRequest {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly method: string
  readonly url: string
  readonly agent?: string
  /** Bytes of the body, and its beginning as text. */
  readonly bytes: number
  readonly body: string
}

const requestsMax = 500
const bodyCharactersMax = 2_000
const urlCharactersMax = 2_000
const agentCharactersMax = 200
const connectionsMax = 256
const TLS_HANDSHAKE = 0x16

export async function openNetworkStub(): Promise<NetworkStub> {
  const authority = makeAuthority(() => Date.now())
  const credentials = `stub:${randomBytes(18).toString('base64url')}`
  const wanted = `Basic ${Buffer.from(credentials).toString('base64')}`
  const requests: StubRequest[] = []
  let leftOut = 0
  /** Origins of tunnels, which their requests do not repeat. */
  const origins = new WeakMap<Duplex, string>()
  const sockets = new Set<Duplex>()
  const record = (request: StubRequest) => {
    if (requests.length < requestsMax) requests.push(request)
    else leftOut += 1
  }
  const server = createServer((request, response) => {
    const origin = origins.get(request.socket)
    if (origin === undefined && request.headers['proxy-authorization'] !== wanted)
      return void response.writeHead(407).end()
    void answer(request, response, origin, record)
  })
  server.maxConnections = connectionsMax
  server.on('connection', (socket: Socket) => keep(socket, sockets))
  server.on('connect', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.headers['proxy-authorization'] !== wanted) return void socket.destroy()
    const target = request.url ?? ''
    const host = target.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    if (head.length > 0) socket.unshift(head)
    socket.once('readable', () => {
      const first = socket.read(1) as Buffer | null
      if (!first) return void socket.destroy()
      socket.unshift(first)
      const isTls = first[0] === TLS_HANDSHAKE
      const secureContext = isTls ? authority.contextFor(host) : undefined
      const inner = secureContext
        ? new TLSSocket(socket, { isServer: true, secureContext })
        : socket
      origins.set(
        inner,
        `${isTls ? 'https' : 'http'}://${target.replace(isTls ? /:443$/ : /:80$/, '')}`,
      )
      keep(inner, sockets)
      server.emit('connection', inner)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    upstream: { host: '127.0.0.1', port, credentials, direct: [] },
    trust: [authority.pem],
    requests,
    get leftOut() {
      return leftOut
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((done) => server.close(done))
    },
  }
}

function keep(socket: Duplex, sockets: Set<Duplex>): void {
  sockets.add(socket)
  socket.on('error', () => socket.destroy())
  socket.once('close', () => sockets.delete(socket))
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  origin: string | undefined,
  record: (request: StubRequest) => void,
): Promise<void> {
  const [url, agent] = [`${origin ?? ''}${request.url ?? ''}`, request.headers['user-agent']]
  const { bytes, body } = await bodyOf(request)
  record({
    at: Date.now(),
    method: request.method ?? '',
    url: url.slice(0, urlCharactersMax),
    ...(agent !== undefined && { agent: agent.slice(0, agentCharactersMax) }),
    bytes,
    body,
  })
  const [type, text] = contentFor(url, request.headers.accept ?? '')
  response.writeHead(200, { 'content-type': type, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

/** Reads a body to its end; one that breaks off counts as far as it came. */
async function bodyOf(request: IncomingMessage): Promise<Pick<StubRequest, 'bytes' | 'body'>> {
  let [bytes, body] = [0, '']
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (body.length < bodyCharactersMax) body += chunk.toString('latin1')
      bytes += chunk.length
    }
  } catch {}
  return { bytes, body: Buffer.from(body.slice(0, bodyCharactersMax), 'latin1').toString() }
}

/** Content that a program which fetches code or data can use: a script that does nothing, unless another type is asked for. */
function contentFor(url: string, accept: string): readonly [type: string, text: string] {
  const path = url.replace(/[?#].*$/, '')
  if (path.endsWith('.json') || accept.startsWith('application/json'))
    return ['application/json', '{}']
  if (/\.[cm]?js$/.test(path)) return ['text/javascript', '\n']
  if (accept.startsWith('text/html')) return ['text/html', '<!doctype html><title>ok</title>']
  return ['text/plain', '#!/bin/sh\nexit 0\n']
}
