import type { HttpBindings } from '@hono/node-server'
import type { Server } from '@modelcontextprotocol/server'
import type { ExecutionExplanation } from '../assemble/assemble.ts'
import type { Clock } from '../contract/clock.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import { refuseUnread } from '../gateway/doors/stored-outcome.ts'
import type { Identity } from '../gateway/http/keys.ts'
import type { McpEndpoint, McpParts } from '../gateway/http/parts.ts'
import { traceOf } from '../gateway/http/request-trace.ts'
import type { AgentParts } from './agent-parts.ts'
import { HandshakeSessions } from './handshake-sessions.ts'
import { serverSdk } from './protocol-sdk.ts'
import { servedHost } from './served-host.ts'
import { makeServer } from './server.ts'
import { toolsFor } from './offered-tools.ts'

/** Maximum of messages in one body (JSON-RPC batch, only in revisions before 2025-06-18). */
const MESSAGES_MAX = 32
/** Maximum of open streams of change notifications. */
const SUBSCRIPTIONS_MAX = 64
/** Headers passed to the SDK; keys, cookies and client addresses are not. */
const protocolHeaders = [
  'accept',
  'content-type',
  'mcp-protocol-version',
  'mcp-session-id',
  'mcp-method',
  'mcp-name',
  'last-event-id',
] as const

export interface McpOptions {
  readonly version: string
  readonly clock: Clock
  readonly explain: (job: Job) => Promise<ExecutionExplanation>
  readonly hasNetwork: () => boolean
  readonly agents: AgentParts
}

/**
 * `/mcp`: the Model Context Protocol over streamable HTTP.
 *
 * Two generations are supported. Since 2026-07-28 requests are stateless, and closing the connection
 * cancels the call. Until 2025-11-25 a client starts with a handshake and gets an MCP session, which is stored in
 * `handshake-sessions.ts` and bound to its key.
 *
 * Relies on the routes: they have checked the key, its scope, `Host` and `Origin`, and limit request bodies.
 */
export function openMcp(options: McpOptions): McpEndpoint {
  const servers = new WeakMap<Request, () => Server>()
  const { createMcpHandler, isLegacyRequest } = serverSdk()
  const modern = createMcpHandler(({ requestInfo }) => servers.get(requestInfo!)!(), {
    legacy: 'reject',
    maxSubscriptions: SUBSCRIPTIONS_MAX,
  })
  const sessions = new HandshakeSessions(options.clock)
  return {
    async answer(parts, http, who) {
      const body = await bodyOf(parts, http, who)
      const request = requestOf(http)
      const make = (trace: Pick<Job, 'traceparent'>) => () => {
        const host = servedHost({ ...parts, ...options }, who, trace)
        const broke = (thrown: unknown) => void parts.refusals.problem(thrown)
        return makeServer({ host, tools: toolsFor(host), version: options.version, broke })
      }
      const isOfSession = body === undefined && request.headers.has('mcp-session-id')
      if (isOfSession || (body !== undefined && (await isLegacyRequest(request, body))))
        return await sessions.answer(request, body, who, make({}))
      servers.set(request, cancelledWith(http, make(traceOf(http.incoming))))
      return await modern.fetch(request, body === undefined ? {} : { parsedBody: body })
    },
    async close() {
      await Promise.all([modern.close(), sessions.closeAll(), options.agents.close()])
    },
  }
}

/** Makes a server whose calls are cancelled when the connection of their request closes. */
function cancelledWith({ outgoing }: HttpBindings, make: () => Server): () => Server {
  return () => {
    const server = make()
    const cancel = (): void => void server.close().catch(() => undefined)
    outgoing.once('close', cancel)
    if (outgoing.destroyed) cancel()
    return server
  }
}

/** Reads the body of a POST, bounded in bytes, depth and messages. Throws MayflyError. */
async function bodyOf(
  parts: McpParts,
  { incoming, outgoing }: HttpBindings,
  who: Identity,
): Promise<unknown> {
  if (incoming.method !== 'POST') return undefined
  parts.running.refuseWhenDraining()
  refuseUnread(parts, who.tenant)
  const { value } = await parts.bodies.json(incoming, outgoing, '', who.tenant)
  if (Array.isArray(value) && value.length > MESSAGES_MAX)
    throw new MayflyError('INVALID', `Cannot accept more than ${MESSAGES_MAX} messages at once`)
  return value
}

function requestOf({ incoming }: HttpBindings): Request {
  const { method = 'GET', headers } = incoming
  const known = protocolHeaders.flatMap((name) => {
    const value = headers[name]
    return value === undefined ? [] : [[name, String(value)] as [string, string]]
  })
  return new Request('http://mayfly/mcp', { method, headers: known })
}
