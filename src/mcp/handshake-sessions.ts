import { randomBytes } from 'node:crypto'
import type { Server, WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server'
import type { Clock, Timer } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Identity } from '../gateway/http/keys.ts'
import { serverSdk } from './protocol-sdk.ts'

/** Maximum of sessions in total, and of one tenant. */
const SESSIONS_MAX = 512
const TENANT_SESSIONS_MAX = 64
/** Idle timeout of a session without a request and an open stream. */
const IDLE_MS = 15 * 60_000
const SWEEP_MS = 60_000
/** Length of a session id: unguessable, and useless without its API key. */
const ID_BYTES = 24

interface HandshakeSession {
  readonly id: string
  /** Id of the API key that opened the session, and its tenant. */
  readonly key: string
  readonly tenant: string
  readonly transport: WebStandardStreamableHTTPServerTransport
  readonly server: Server
  usedAt: number
  /** Number of pending responses; an open stream counts as use. */
  open: number
}

/**
 * MCP protocol sessions for clients of revisions until 2025-11-25, which begin with a handshake. A session is visible only to the key
 * that opened it. It contains no sandbox: sandboxes are sessions of Mayfly, with ids of their own.
 */
export class HandshakeSessions {
  readonly #clock: Clock
  readonly #sessions = new Map<string, HandshakeSession>()
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  async answer(
    request: Request,
    body: unknown,
    who: Identity,
    make: () => Server,
  ): Promise<Response> {
    const id = request.headers.get('mcp-session-id')
    const parsed = body === undefined ? {} : { parsedBody: body }
    if (id !== null) {
      const session = this.#sessions.get(id)
      if (!session || session.key !== who.id || session.tenant !== who.tenant) return unknown()
      return await this.#within(session, () => session.transport.handleRequest(request, parsed))
    }
    if (!serverSdk().isInitializeRequest(body)) return unnamed()
    return await this.#begin(request, parsed, who, make)
  }

  async closeAll(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((one) => this.#close(one)))
  }

  async #begin(
    request: Request,
    parsed: { readonly parsedBody?: unknown },
    who: Identity,
    make: () => Server,
  ): Promise<Response> {
    this.#refuseOver(who.tenant)
    const server = make()
    const id = randomBytes(ID_BYTES).toString('base64url')
    const transport = new (serverSdk().WebStandardStreamableHTTPServerTransport)({
      sessionIdGenerator: () => id,
      onsessionclosed: () => this.#forget(id),
    })
    const { id: key, tenant } = who
    const session = { id, key, tenant, transport, server, usedAt: 0, open: 0 }
    // Registered before the handshake completes, so that concurrent handshakes stay within the limit.
    this.#sessions.set(id, session)
    this.#watch()
    await server.connect(transport)
    const answer = await this.#within(session, () => transport.handleRequest(request, parsed))
    if (!answer.ok) await this.#close(session)
    return answer
  }

  /** Handles a request in a session, which counts as used until the response was read. */
  async #within(session: HandshakeSession, work: () => Promise<Response>): Promise<Response> {
    session.open++
    let isDone = false
    const done = (): void => {
      if (isDone) return
      isDone = true
      session.open--
      session.usedAt = this.#clock.now()
    }
    try {
      const answer = await work()
      if (answer.body) return followed(answer, answer.body, done)
      done()
      return answer
    } catch (thrown) {
      done()
      throw thrown
    }
  }

  #refuseOver(tenant: string): void {
    const all = [...this.#sessions.values()]
    const own = all.filter((one) => one.tenant === tenant).length
    if (all.length < SESSIONS_MAX && own < TENANT_SESSIONS_MAX) return
    throw new MayflyError('RATE_LIMITED', 'Cannot open another MCP session: the limit is reached', {
      hint: 'End a session by DELETE, or wait for the idle timeout of 15 minutes',
      retryAfterMs: SWEEP_MS,
    })
  }

  #watch(): void {
    if (this.#timer || this.#sessions.size === 0) return
    this.#timer = this.#clock.after(SWEEP_MS, () => {
      this.#timer = undefined
      const now = this.#clock.now()
      for (const one of this.#sessions.values())
        if (one.open === 0 && now - one.usedAt >= IDLE_MS) void this.#close(one)
      this.#watch()
    })
    this.#timer.unref?.()
  }

  async #close(session: HandshakeSession): Promise<void> {
    this.#forget(session.id)
    await session.server.close().catch(() => undefined)
  }

  #forget(id: string): void {
    this.#sessions.delete(id)
    if (this.#sessions.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }
}

/** Returns the same response; calls `done` when it was read, cancelled or broken off. */
function followed(
  { status, headers }: Response,
  body: NonNullable<Response['body']>,
  done: () => void,
): Response {
  const followedBody = body.pipeThrough(new TransformStream({ flush: done, cancel: done }))
  return new Response(followedBody, { status, headers })
}

/** Identical response for ended sessions, sessions of other keys and unknown ids. */
function unknown(): Response {
  return refusal(404, -32_001, 'Session not found')
}

function unnamed(): Response {
  return refusal(400, -32_000, 'Bad Request: Session ID required')
}

function refusal(status: number, code: number, message: string): Response {
  return Response.json({ jsonrpc: '2.0', error: { code, message }, id: null }, { status })
}
