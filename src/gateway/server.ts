import { once } from 'node:events'
import type { ProxyHeader } from '../contract/config.ts'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { MayflyError, messageOf, type ErrorCode } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Telemetry } from '../telemetry/open.ts'
import { createViews } from '../telemetry/views.ts'
import { rememberClients } from './http/client-address.ts'
import {
  answeredEarly,
  boundAnswer,
  refusePipelined,
  responseOn,
  shareConnections,
} from './http/connections.ts'
import { RequestBodies, awaitingContinue } from './http/body.ts'
import { longestBodyMs } from './http/body-deadline.ts'
import type { GatewayParts, Operating, OptionalParts, ServedSessions } from './http/parts.ts'
import { inspectRequest } from './http/inspect-request.ts'
import { defaultLimits, type GatewayLimits } from './http/limits.ts'
import { LiveJobs } from './http/live-jobs.ts'
import { isLoopback, serverNames } from './http/origin.ts'
import { headersOf, problemOf, problemResponse, writeProblem } from './http/problem.ts'
import { PageSessions } from './http/page-sessions.ts'
import { noQuotas, type Quotas } from './http/quota.ts'
import { RateLimit } from './http/rate-limit.ts'
import { pageTenant } from './http/visitor-ceilings.ts'
import { Tarpit } from './http/tarpit.ts'
import { Refusals } from './http/refusals.ts'
import { activeRoutes, calls, pageCalls, staticRoutes } from './routes.ts'
import { SenderShares } from './http/sender-shares.ts'
import { JobSlots } from './http/job-slots.ts'
import { answerSockets, isSocketRequest } from './http/websocket.ts'
import { terminalRoute } from './http/websocket-terminal.ts'
import { StaticFiles } from './http/static.ts'
import { ThreatReaders } from './http/threat-readers.ts'
import {
  answerPlainHttp,
  followRenewals,
  strictTransport,
  tlsOptions,
  type Tls,
} from './http/tls.ts'
import { SessionTokens } from './http/session-token.ts'
import { CLIENT_CLOSED_REQUEST, RequestTrace } from './http/request-trace.ts'

/** Parts that the caller makes, and those that a server lacks by default. */
type HandedParts = Pick<
  GatewayParts,
  'road' | 'effects' | 'history' | 'providers' | 'ready' | 'keys' | 'clock' | 'version'
> &
  Partial<OptionalParts & Pick<Operating, 'operations'>>

export interface GatewayOptions extends HandedParts {
  readonly host: string
  /** Port of the static endpoint; the active one uses the next. 0: two free ports. */
  readonly port: number
  /** Folder served instead of the built-in page. */
  readonly site?: string
  /** The state folder: no file of it is served, wherever the site lies. */
  readonly state?: string
  /** Explicitly allows plain HTTP off loopback; refused otherwise. */
  readonly insecureHttp?: boolean
  readonly tls?: Tls
  readonly sessions?: {
    /** Issues tokens to visitors; default: on loopback only. */
    readonly anonymous?: boolean
    /** Tenant of the pages' jobs; default `page`. */
    readonly tenant?: string
  }
  /** Limits of page visitors that can change at run time. */
  readonly visitors?: () => VisitorLimits
  /** Sessions are not opened by default. */
  readonly served?: ServedSessions
  /** Quotas of tenants; default none. Closed by the caller. */
  readonly quotas?: Quotas
  readonly limits?: Partial<GatewayLimits>
  /** Addresses and networks of reverse proxies whose `proxyHeader` is believed; default none. */
  readonly trustedProxies?: readonly string[]
  /** Default `X-Forwarded-For`. */
  readonly proxyHeader?: ProxyHeader
  readonly emitter: Emitter
  /** Data of `/metrics` and `/v1/threats`; both empty by default. */
  readonly telemetry?: Pick<Telemetry, 'views' | 'traces'>
}

export interface VisitorLimits {
  readonly anonymous: boolean | undefined
  /** Concurrent jobs, and jobs a minute, of one page session. */
  readonly running: number
  readonly perMinute: number
  /** Session tokens a minute for one address. */
  readonly tokensPerMinute: number
}

export interface Gateway {
  readonly staticUrl: string
  readonly activeUrl: string
  /** Refuses new jobs, waits `ms` for running ones, cancels the rest. Resolves to how many were cancelled. */
  drain(ms: number): Promise<number>
  /** Closes both endpoints and every connection. Idempotent. */
  close(): Promise<void>
}

/** Opens the HTTP endpoints. Throws MayflyError CONFIG if it cannot listen, or must not. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const { tls } = options
  if (!isLoopback(options.host) && !tls && options.insecureHttp !== true)
    throw inClear(options.host)
  const listening = { static: 0, active: 0 }
  const parts = makeParts(options, () => listening.static)
  const active = makeServer(
    parts,
    options,
    new Set(Object.keys(calls)),
    getRequestListener(activeRoutes(parts).fetch, bridge),
  )
  const origin = `${tls ? 'https' : 'http'}://${urlHost(options.host)}`
  const activeOrigin = () => `${origin}:${listening.active}`
  const pages = makeServer(
    parts,
    options,
    new Set([...Object.keys(pageCalls), '/*']),
    getRequestListener(staticRoutes(parts, filesOf(options), activeOrigin).fetch, bridge),
  )
  const refuseOn = (socket: Duplex, thrown: unknown) => refuse(parts, socket, thrown)
  const sockets = [
    answerSockets(active, parts, ['/v1/executions', '/active-content', terminalRoute], refuseOn),
    answerSockets(pages, parts, ['/active-content'], refuseOn),
  ]
  try {
    listening.static = await listen(pages, options.host, options.port)
    listening.active = await listen(active, options.host, options.port === 0 ? 0 : options.port + 1)
  } catch (thrown) {
    await Promise.all([end(pages), end(active)])
    throw thrown
  }
  return {
    staticUrl: `${origin}:${listening.static}`,
    activeUrl: activeOrigin(),
    async drain(ms) {
      parts.threatReaders.end()
      const draining = parts.running.drain(ms)
      await parts.sessions?.held.drain(ms)
      const cancelled = await draining
      await parts.mcp?.close()
      return cancelled
    },
    async close() {
      for (const one of sockets) one.close()
      await parts.mcp?.close()
      await Promise.all([end(pages), end(active)])
    },
  }
}

/** Keeps Node's global Request and Response; an unreadable target becomes a problem. */
const bridge = {
  overrideGlobalObjects: false,
  errorHandler: () =>
    problemResponse(problemOf(new MayflyError('SYNTAX', 'Cannot read the request target'))),
}

function makeParts(options: GatewayOptions, staticPort: () => number): GatewayParts {
  const { clock, sessions } = options
  const limits = { ...defaultLimits, ...options.limits }
  const { meters, threats } = options.telemetry?.views ?? createViews()
  const threatReaders = new ThreatReaders(threats)
  meters.observe(() => threatReaders.readings())
  const visitors = options.visitors ?? (() => visitorsOf(limits, sessions))
  const tokens = new SessionTokens(() => {
    const { running, perMinute } = visitors()
    return { sessionMs: limits.sessionMs, sessionRunning: running, sessionPerMinute: perMinute }
  }, clock)
  return {
    ...handedIn(options),
    sessions: options.served,
    get tokens() {
      return (visitors().anonymous ?? isLoopback(options.host)) ? tokens : undefined
    },
    pageTenant: sessions?.tenant ?? pageTenant,
    pageSessions: new PageSessions(limits.pageSessions),
    names: serverNames(options.host, staticPort),
    isLocal: isLoopback(options.host),
    limits,
    bodies: new RequestBodies(limits),
    answers: new SenderShares(limits.answersBytes, limits.answersBytes / 2),
    running: new JobSlots(limits.running, limits.runningBytes, clock),
    live: new LiveJobs(),
    quotas: options.quotas ?? noQuotas,
    keyRate: new RateLimit(limits.keyPerMinute, clock),
    addressRate: new RateLimit(limits.addressPerMinute, clock),
    mintRate: new RateLimit(() => visitors().tokensPerMinute, clock),
    operateRate: new RateLimit(limits.operatePerMinute, clock),
    refusals: new Refusals(options.emitter, clock),
    tarpit: new Tarpit(clock),
    meters,
    threats,
    threatReaders,
    requestTrace: new RequestTrace(options.emitter, clock, options.telemetry?.traces === true),
  }
}

function handedIn(options: GatewayOptions) {
  const { road, effects, history, providers, ready, keys, clock, version } = options
  const { analyseZones, audit, operations, evidence, change, mcp } = options
  const needed = { road, effects, history, providers, ready, keys, clock, version }
  return { ...needed, analyseZones, audit, operations, evidence, change, mcp }
}

function visitorsOf(limits: GatewayLimits, sessions: GatewayOptions['sessions']): VisitorLimits {
  const { sessionRunning: running, sessionPerMinute: perMinute, tokensPerMinute } = limits
  return { anonymous: sessions?.anonymous, running, perMinute, tokensPerMinute }
}

/** The browser client has precedence, so that a site cannot serve an older client than its server. */
function filesOf({ site, state }: Pick<GatewayOptions, 'site' | 'state'>): StaticFiles {
  const source = join(import.meta.dirname, '..')
  const client = { folder: join(source, 'web', 'client') }
  const page = { folder: join(source, 'web', 'page') }
  const missing = { folder: join(source, 'web', 'missing') }
  if (site !== undefined)
    return new StaticFiles([client, { folder: site, ...(state && { closed: state }) }, missing])
  const picture = { folder: join(source, 'picture'), under: 'picture' }
  return new StaticFiles([client, page, picture, missing])
}

function makeServer(
  parts: Pick<GatewayParts, 'limits' | 'names' | 'refusals' | 'requestTrace' | 'running'>,
  {
    host,
    tls,
    emitter,
    trustedProxies = [],
    proxyHeader = 'x-forwarded-for',
  }: Pick<GatewayOptions, 'host' | 'tls' | 'emitter' | 'trustedProxies' | 'proxyHeader'>,
  routes: ReadonlySet<string>,
  listener: RequestListener,
): Server {
  const { limits } = parts
  const isStrict = tls?.isLasting === true && !isLoopback(host)
  const options: ServerOptions = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersMs,
    // Beyond the deadline of any body that is read.
    requestTimeout: limits.headersMs + longestBodyMs(limits.bodyMs, limits.bodyBytes),
    keepAliveTimeout: limits.keepAliveMs,
    // A client that sends at the last moment it was told is heard, also by a server that is late.
    keepAliveTimeoutBuffer: 2 * limits.keepAliveMs,
    connectionsCheckingInterval: Math.min(1000, limits.headersMs),
    // Off because `inspect` refuses a missing Host with a problem body.
    requireHostHeader: false,
    insecureHTTPParser: false,
    shouldUpgradeCallback: isSocketRequest,
  }
  const secure = tls && createSecureServer({ ...options, ...tlsOptions(tls, limits.headersMs) })
  if (secure) {
    followRenewals(secure, tls, limits.headersMs, emitter)
    answerPlainHttp(secure)
  }
  const server = secure ?? createServer(options)
  shareConnections(server, limits.connections)
  server.maxRequestsPerSocket = 1000
  // Unlimited, so that Node drops no line silently; `inspect` counts them.
  server.maxHeadersCount = 0
  const answer = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
    if (refusePipelined(incoming, outgoing)) return
    if (parts.running.draining) outgoing.shouldKeepAlive = false
    parts.requestTrace.follow(incoming, outgoing, routes)
    boundAnswer(incoming, outgoing, limits)
    if (isStrict) outgoing.setHeader('strict-transport-security', strictTransport)
    try {
      inspectRequest(incoming, parts.names, limits.headerLines)
    } catch (thrown) {
      outgoing.shouldKeepAlive = false
      incoming.resume()
      return writeProblem(outgoing, parts.refusals.problem(thrown, incoming))
    }
    listener(incoming, outgoing)
  }
  server.on('request', answer)
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    awaitingContinue.add(incoming)
    answer(incoming, outgoing)
  })
  rememberClients(server, trustedProxies, proxyHeader)
  server.on('connect', (_, socket) =>
    refuse(parts, socket, new MayflyError('METHOD_NOT_ALLOWED', 'Cannot be a proxy')),
  )
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    // A failed TLS handshake leaves no way to answer, except below TLS (`answerPlainHttp`).
    if (error.code?.startsWith('ERR_SSL')) socket.destroy()
    else refuse(parts, socket, unreadable(error))
  })
  return server
}

/** Errors of Node's HTTP parser, before a request exists. */
function unreadable(error: NodeJS.ErrnoException): MayflyError {
  const known: Readonly<Record<string, readonly [ErrorCode, string]>> = {
    HPE_HEADER_OVERFLOW: ['HEADERS_TOO_LARGE', 'Cannot read headers this large'],
    ERR_HTTP_REQUEST_TIMEOUT: ['REQUEST_TIMEOUT', 'Cannot wait any longer for the request'],
  }
  const [code, message] = known[error.code ?? ''] ?? [
    'SYNTAX',
    'Cannot read the request as HTTP/1.1',
  ]
  return new MayflyError(code, message)
}

/** Answers on a raw socket and ends it; if an answer has begun, the socket is destroyed. Returns the status. */
function refuse(parts: Pick<GatewayParts, 'refusals'>, socket: Duplex, error: unknown): number {
  if (!socket.writable || responseOn(socket)?.headersSent || answeredEarly.has(socket)) {
    socket.destroy()
    return CLIENT_CLOSED_REQUEST
  }
  const problem = parts.refusals.problem(error)
  const text = JSON.stringify(problem)
  const lines = [
    `HTTP/1.1 ${problem.status} ${problem.title}`,
    ...Object.entries(headersOf(problem)).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${Buffer.byteLength(text)}`,
    'connection: close',
  ]
  socket.on('error', () => socket.destroy())
  socket.end(`${lines.join('\r\n')}\r\n\r\n${text}`)
  setTimeout(() => socket.destroy(), 1000).unref()
  return problem.status
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  try {
    await once(server.listen({ host, port, exclusive: true }), 'listening')
    // A connection that cannot be accepted, as where the machine is out of descriptors (ENFILE), must not end the server.
    server.on('error', () => undefined)
  } catch (thrown) {
    throw new MayflyError('CONFIG', `Cannot listen on "${host}:${port}": ${messageOf(thrown)}`, {
      hint: 'Name another by "--host" and "--port", or "--port 0" for any two that are free',
      cause: thrown,
    })
  }
  return (server.address() as AddressInfo).port
}

async function end(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeAllConnections()
  await promise
}

function urlHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

function inClear(host: string): MayflyError {
  return new MayflyError('CONFIG', `Cannot listen on "${host}" without TLS`, {
    hint: 'Give --tls-cert and --tls-key, or listen on loopback behind a proxy that does TLS',
  })
}
