import type { IncomingMessage } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import { Hono, type Context } from 'hono'
import { MayflyError } from '../contract/error.ts'
import { askerOf, authenticateRequest, refuseOver, watchKey } from './http/authenticate-request.ts'
import { authorise } from './http/auth.ts'
import { anonymousAt } from './http/body.ts'
import { readAudit } from './doors/audit.ts'
import { countAnswer } from './doors/stored-outcome.ts'
import { callCapability, listCapabilities } from './doors/capabilities.ts'
import { changeConfig, preferProvider } from './doors/configuration.ts'
import { docsPage } from './doors/docs-page.ts'
import type { Door, DoorCall, Params } from './doors/door.ts'
import type { GatewayParts } from './http/parts.ts'
import {
  executeEffect,
  listEffects,
  readEffect,
  registerEffect,
  removeEffect,
} from './doors/effects.ts'
import { readEvidence, readEvidencePart } from './doors/evidence.ts'
import { execute, executeActiveContent } from './doors/executions.ts'
import { cancelExecution, getExecution, listExecutions, readArtifact } from './doors/history.ts'
import type { Identity, Scope } from './http/keys.ts'
import { negotiate } from './http/negotiate.ts'
import { openApiBytes } from './openapi.ts'
import { clientGroup } from './http/client-address.ts'
import { answerMcp } from './doors/mcp.ts'
import { metrics } from './doors/metrics.ts'
import { originOf, refuseForeignPages } from './http/origin.ts'
import { problemOf, problemResponse } from './http/problem.ts'
import { json, jsonText } from './http/json-response.ts'
import type { PageOptions, StaticFiles, StaticRequest } from './http/static.ts'
import {
  captureSandbox,
  closeSandboxes,
  freezeSandbox,
  listSandboxes,
  readSandbox,
  terminateSandbox,
  thawSandbox,
  tightenSandbox,
} from './doors/sandboxes.ts'
import {
  closePageSession,
  interruptPageSession,
  openPageSession,
  pageSessionFiles,
  readPageSession,
  renewPageSession,
  runInPageSession,
} from './doors/page-sessions.ts'
import {
  openSandbox,
  putSandboxFile,
  forkSandbox,
  renewSandbox,
  runInSandbox,
  sandboxTerminal,
  sandboxFiles,
} from './doors/sessions.ts'
import { listThreats, streamThreats } from './doors/threats.ts'
import { drawExecution } from './doors/timeline.ts'
import {
  analyseZones,
  beginZones,
  endZone,
  monitorZones,
  planZonesDoor,
  tightenZone,
} from './doors/zones.ts'

type Env = { readonly Bindings: HttpBindings }

/** Call of the API. Method and path come from the table below, which `openapi.ts` describes. */
interface Call {
  /** Scopes, one of which the key needs; `anyone`: no key; `own`: checks by itself. */
  readonly needs: readonly Scope[] | 'anyone' | 'own'
  readonly answer: Door<GatewayParts>
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
/** Calls of one path: all need a key, or none does. */
type Methods = Readonly<Partial<Record<Method, Call>>>

const anyScope = ['run', 'read'] as const satisfies readonly Scope[]
const seesLives = ['read', 'operate'] as const satisfies readonly Scope[]
/** A key of scope `run` reaches the sessions that it opened, and nothing else. */
const everyLife = ['run', 'read', 'operate'] as const satisfies readonly Scope[]
const ownOrOperate = ['run', 'operate'] as const satisfies readonly Scope[]

/** Every path of the active endpoint. */
export const calls: Readonly<Record<string, Methods>> = {
  '/livez': { GET: { needs: 'anyone', answer: () => json({ status: 'alive' }) } },
  // Conventional path of external health probes.
  '/healthz': { GET: { needs: 'anyone', answer: () => json({ status: 'alive' }) } },
  '/readyz': { GET: { needs: 'anyone', answer: (parts) => ready(parts) } },
  '/version': {
    GET: {
      needs: 'anyone',
      answer: (parts) => json({ name: 'mayfly', version: parts.version, api: 'v1' }),
    },
  },
  '/openapi.json': {
    GET: { needs: anyScope, answer: (parts) => whole(openApiBytes(parts.version)) },
  },
  '/docs': { GET: { needs: anyScope, answer: docs } },
  '/v1/providers': {
    GET: { needs: anyScope, answer: async (parts) => json(await parts.providers()) },
  },
  '/v1/providers/default': { PUT: { needs: ['admin'], answer: preferProvider } },
  '/v1/config': { PATCH: { needs: ['admin', 'config:widen'], answer: changeConfig } },
  '/v1/executions': {
    POST: { needs: ['run'], answer: execute },
    GET: { needs: anyScope, answer: listExecutions },
  },
  '/v1/executions/{id}': {
    GET: { needs: anyScope, answer: getExecution },
    DELETE: { needs: ['run'], answer: cancelExecution },
  },
  '/v1/executions/{id}/artifacts/{path}': { GET: { needs: anyScope, answer: readArtifact } },
  '/v1/executions/{id}/timeline.svg': { GET: { needs: anyScope, answer: drawExecution } },
  '/v1/sandboxes': {
    POST: { needs: ['run'], answer: openSandbox },
    GET: { needs: everyLife, answer: listSandboxes },
    DELETE: { needs: ['run'], answer: closeSandboxes },
  },
  '/v1/sandboxes/{id}': {
    GET: { needs: everyLife, answer: readSandbox },
    DELETE: { needs: ownOrOperate, answer: terminateSandbox },
  },
  '/v1/sandboxes/{id}/run': { POST: { needs: ['run'], answer: runInSandbox } },
  '/v1/sandboxes/{id}/files': {
    GET: { needs: ['run'], answer: sandboxFiles },
    PUT: { needs: ['run'], answer: putSandboxFile },
  },
  '/v1/sandboxes/{id}/pty': { GET: { needs: ['run'], answer: sandboxTerminal } },
  '/v1/sandboxes/{id}/fork': { POST: { needs: ['run'], answer: forkSandbox } },
  '/v1/sandboxes/{id}/timeout': { POST: { needs: ['run'], answer: renewSandbox } },
  '/v1/sandboxes/{id}/tighten': { POST: { needs: ownOrOperate, answer: tightenSandbox } },
  '/v1/sandboxes/{id}/freeze': { POST: { needs: ownOrOperate, answer: freezeSandbox } },
  '/v1/sandboxes/{id}/thaw': { POST: { needs: ownOrOperate, answer: thawSandbox } },
  '/v1/sandboxes/{id}/resume': { POST: { needs: ownOrOperate, answer: thawSandbox } },
  '/v1/sandboxes/{id}/capture': { POST: { needs: ownOrOperate, answer: captureSandbox } },
  '/v1/audit': { GET: { needs: ['read'], answer: readAudit } },
  '/v1/evidence/{id}': { GET: { needs: seesLives, answer: readEvidence } },
  '/v1/evidence/{id}/{capture}/{part}': {
    GET: { needs: ['operate'], answer: readEvidencePart },
  },
  '/v1/zones': { POST: { needs: ['run'], answer: beginZones } },
  '/v1/zones/analysis': { POST: { needs: ['run'], answer: analyseZones } },
  '/v1/zones/plan': { POST: { needs: ['run'], answer: planZonesDoor } },
  '/v1/zones/{id}': { GET: { needs: anyScope, answer: monitorZones } },
  '/v1/zones/{id}/{zone}': { DELETE: { needs: ['operate'], answer: endZone } },
  '/v1/zones/{id}/{zone}/tighten': { POST: { needs: ['operate'], answer: tightenZone } },
  '/v1/capabilities': { GET: { needs: anyScope, answer: listCapabilities } },
  '/v1/capabilities/{name}': { POST: { needs: ['run'], answer: callCapability } },
  '/api/effects': { GET: { needs: anyScope, answer: listEffects } },
  '/api/effects/register': { POST: { needs: ['run'], answer: registerEffect } },
  '/api/effects/execute': { POST: { needs: ['run'], answer: executeEffect } },
  '/api/effects/{id}': {
    GET: { needs: anyScope, answer: readEffect },
    DELETE: { needs: ['run'], answer: removeEffect },
  },
  '/v1/threats': { GET: { needs: ['read'], answer: listThreats } },
  '/v1/threats/stream': { GET: { needs: ['read'], answer: streamThreats } },
  '/mcp': {
    POST: { needs: ['run'], answer: answerMcp },
    GET: { needs: ['run'], answer: answerMcp },
    DELETE: { needs: ['run'], answer: answerMcp },
  },
  '/metrics': { GET: { needs: ['read'], answer: metrics } },
  '/active-content': { POST: { needs: 'own', answer: executeActiveContent } },
}

const TOO_MANY = 429

/** Calls of pages, at the static endpoint: by session token, and sessions by no key at all. */
export const pageCalls: Readonly<Record<string, Methods>> = {
  '/active-content': calls['/active-content']!,
  '/active-content/sessions': { POST: { needs: 'own', answer: openPageSession } },
  '/active-content/sessions/{id}': {
    GET: { needs: 'own', answer: readPageSession },
    DELETE: { needs: 'own', answer: closePageSession },
  },
  '/active-content/sessions/{id}/run': { POST: { needs: 'own', answer: runInPageSession } },
  '/active-content/sessions/{id}/interrupt': {
    POST: { needs: 'own', answer: interruptPageSession },
  },
  '/active-content/sessions/{id}/timeout': { POST: { needs: 'own', answer: renewPageSession } },
  '/active-content/sessions/{id}/files': { GET: { needs: 'own', answer: pageSessionFiles } },
}

/** Calls without a key on loopback, for browsers: they reveal no tenant data. */
const openOnLoopback: Readonly<Record<string, Methods>> = {
  '/openapi.json': { GET: { ...calls['/openapi.json']!.GET!, needs: 'anyone' } },
  '/docs': { GET: { ...calls['/docs']!.GET!, needs: 'anyone' } },
}

/** The active endpoint: the API. Without a key every path answers the same 401. */
export function activeRoutes(parts: GatewayParts): Hono<Env> {
  const app = new Hono<Env>()
  for (const [path, methods] of Object.entries({
    ...calls,
    ...(parts.isLocal && openOnLoopback),
  })) {
    app.all(patternOf(path), async (context) => {
      const http = context.env
      const crossing = path === '/active-content' ? crossOrigin(parts, http) : {}
      if (path !== '/active-content') refuseForeignPages(http.incoming)
      if (context.req.method === 'OPTIONS' && !needsKey(methods)) return options(methods, crossing)
      let tenant: string | undefined
      const identified = (own: string) => void (tenant = own)
      const { method } = context.req
      const asked = { method, params: context.req.param() as Params, identified }
      const answered = await attempt(parts, http, () => dispatch(parts, methods, http, asked))
      if (answered.status === TOO_MANY) await pause(parts.tarpit.delayMs(askerOf(parts, http)))
      const of = tenant ?? anonymousAt(http.incoming)
      const turn = <T>(work: () => T) => parts.bodies.turn(of, work)
      const whole = await negotiate(http.incoming, answered, turn)
      const counted = await attempt(parts, http, () => countAnswer(parts, http, of, whole))
      return withHeaders(counted, crossing)
    })
  }
  app.all('*', ({ env }) => {
    refuseForeignPages(env.incoming)
    authenticateRequest(parts, env)
    throw new MayflyError('NOT_FOUND', 'Cannot find this path')
  })
  return app.onError((thrown) => refusal(parts, thrown))
}

/** The static endpoint: files, and same-origin routes to active content and its sessions. */
export function staticRoutes(
  parts: GatewayParts,
  files: StaticFiles,
  activeOrigin: () => string,
): Hono<Env> {
  const app = new Hono<Env>()
  for (const [path, methods] of Object.entries(pageCalls)) {
    app.all(patternOf(path), async ({ env, req }) => {
      if (req.method === 'OPTIONS') return options(methods, {})
      const params = req.param() as Params
      const answered = await dispatch(parts, methods, env, { method: req.method, params })
      return await countAnswer(parts, env, anonymousAt(env.incoming), answered)
    })
  }
  /** Charges a page; other files are read piece by piece. */
  const counted = async (env: HttpBindings, answered: Response) =>
    answered.headers.get('content-type')?.startsWith('text/html')
      ? await countAnswer(parts, env, anonymousAt(env.incoming), answered)
      : answered
  // A site's own page of this name wins. No key needed, since browsers send none.
  app.get('/docs', async (context) => {
    const answered = await serve(parts, files, activeOrigin, context).catch((thrown: unknown) => {
      if (thrown instanceof MayflyError && thrown.code === 'NOT_FOUND')
        return docsOf(parts, activeOrigin())
      throw thrown
    })
    return await counted(context.env, answered)
  })
  app.all('*', async (context) => {
    const { env } = context
    return await counted(env, await serveOrMissing(parts, files, activeOrigin, context))
  })
  return app.onError((thrown) => refusal(parts, thrown))
}

/** A missing path is a page for a client that shows pages, and a problem for any other. */
async function serveOrMissing(
  parts: Pick<GatewayParts, 'limits' | 'tokens' | 'mintRate'>,
  files: StaticFiles,
  activeOrigin: () => string,
  context: Context<Env>,
): Promise<Response> {
  try {
    return await serve(parts, files, activeOrigin, context)
  } catch (thrown) {
    const { incoming } = context.env
    const isMissing = thrown instanceof MayflyError && thrown.code === 'NOT_FOUND'
    if (!isMissing || !/\btext\/html\b/i.test(incoming.headers.accept ?? '')) throw thrown
    return files.missingPage(staticRequest(incoming), [activeOrigin()])
  }
}

async function serve(
  parts: Pick<GatewayParts, 'limits' | 'tokens' | 'mintRate'>,
  files: StaticFiles,
  activeOrigin: () => string,
  { env, req }: Context<Env>,
): Promise<Response> {
  const { incoming } = env
  if (req.method === 'OPTIONS')
    return new Response(null, { status: 204, headers: { allow: 'GET, HEAD, OPTIONS' } })
  if (req.method !== 'GET' && req.method !== 'HEAD')
    return wrongMethod(req.method, 'GET, HEAD, OPTIONS')
  // Timeout from the start: a file is sent as fast as it is read, whereas a job's answer is timed from its end
  // (`server.ts`).
  env.outgoing.socket?.setTimeout(parts.limits.writeMs)
  const pages: PageOptions = {
    connect: [activeOrigin()],
    issue: (path) => tokenFor(parts, incoming, path),
  }
  return files.answer(staticRequest(incoming), pages)
}

function staticRequest({ url = '/', method, headers }: IncomingMessage): StaticRequest {
  return { target: url, ifNoneMatch: headers['if-none-match'], body: method === 'GET' }
}

/** Session token for a load of the page at `path`; undefined if visitors get none. Throws MayflyError RATE_LIMITED. */
function tokenFor(
  { tokens, mintRate }: Pick<GatewayParts, 'tokens' | 'mintRate'>,
  incoming: IncomingMessage,
  path: string,
): string | undefined {
  if (tokens) refuseOver(mintRate.take(clientGroup(incoming)))
  return tokens?.issue(originOf(incoming), path)
}

interface Asked {
  readonly method: string
  readonly params: Params
  /** Receives the tenant of the key. */
  readonly identified?: (tenant: string) => void
}

async function dispatch(
  parts: GatewayParts,
  methods: Methods,
  http: HttpBindings,
  { method, params, identified }: Asked,
): Promise<Response> {
  const identity = needsKey(methods) ? authenticateRequest(parts, http) : nobody
  if (identity !== nobody) identified?.(identity.tenant)
  const { incoming, outgoing } = http
  const { authorization } = incoming.headers
  // A stream may stay open for as long as a session lives, and a body take hours to arrive.
  const lasting = method === 'GET' ? outgoing : incoming
  if (identity !== nobody)
    watchKey(parts, { authorization, identity }, lasting, () => outgoing.destroy())
  if (method === 'OPTIONS') return options(methods, {})
  const call = methods[(method === 'HEAD' ? 'GET' : method) as Method]
  if (!call) return wrongMethod(method, allowOf(methods))
  if (typeof call.needs !== 'string') authorise(identity, call.needs)
  const answered = await attempt(parts, http, async () =>
    call.answer(parts, { http, identity, params }),
  )
  return identity === nobody
    ? answered
    : withHeaders(answered, parts.quotas.headers(identity.tenant))
}

/** Pattern of the router; the path of a file has slashes. */
function patternOf(path: string): string {
  return path.replace(/\{path\}$/, ':path{.+}').replaceAll(/\{(\w+)\}/g, ':$1')
}

function needsKey(methods: Methods): boolean {
  return Object.values(methods).some(({ needs }) => typeof needs !== 'string')
}

const nobody: Identity = { id: '', tenant: '', principal: '', scopes: [] }

/** With its length, so that an answer that its reader's share has no room for is not copied. */
const whole = (bytes: Uint8Array<ArrayBuffer>): Response =>
  jsonText(200, bytes, { 'content-length': `${bytes.length}` })

function docs(parts: Pick<GatewayParts, 'version'>, { http }: DoorCall): Response {
  return docsOf(parts, originOf(http.incoming))
}

/** `origin`: API origin shown in the examples. */
function docsOf(parts: Pick<GatewayParts, 'version'>, origin: string): Response {
  const { page, policy } = docsPage(parts.version, origin)
  return new Response(page, {
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-length': `${page.length}`,
      'content-security-policy': policy,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
    },
  })
}

function ready(parts: Pick<GatewayParts, 'ready' | 'running'>): Response {
  parts.running.refuseWhenDraining()
  const state = parts.ready()
  if (state.ready) {
    const { walls, refused } = state
    return json({ status: 'ready', walls, ...(refused && { refused }) })
  }
  throw new MayflyError(state.code ?? 'NO_WALL', `Cannot run jobs: ${state.reason}`, {
    details: state.fix === undefined ? null : { fix: state.fix },
    retryAfterMs: 1000,
  })
}

/** CORS headers for pages of the static origin; no other origin gets them. */
function crossOrigin(
  parts: Pick<GatewayParts, 'names'>,
  { incoming }: HttpBindings,
): Readonly<Record<string, string>> {
  const { origin } = incoming.headers
  if (origin === undefined || !parts.names.isStatic(origin, incoming.socket.localAddress))
    return { vary: 'origin' }
  return {
    vary: 'origin',
    'access-control-allow-origin': origin,
    'access-control-allow-methods': 'POST',
    'access-control-allow-headers': 'authorization, content-type',
    'access-control-expose-headers': 'retry-after',
    'access-control-max-age': '600',
  }
}

async function attempt(
  parts: Pick<GatewayParts, 'refusals'>,
  { incoming }: HttpBindings,
  answer: () => Promise<Response>,
): Promise<Response> {
  try {
    return await answer()
  } catch (thrown) {
    return problemResponse(parts.refusals.problem(thrown, incoming))
  }
}

function pause(ms: number): Promise<void> | undefined {
  return ms === 0 ? undefined : new Promise((resolve) => void setTimeout(resolve, ms).unref())
}

function refusal(parts: Pick<GatewayParts, 'refusals'>, thrown: unknown): Response {
  return problemResponse(parts.refusals.problem(thrown))
}

function withHeaders(response: Response, headers: Readonly<Record<string, string>>): Response {
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value)
  return response
}

function options(methods: Methods, headers: Readonly<Record<string, string>>): Response {
  return new Response(null, { status: 204, headers: { allow: allowOf(methods), ...headers } })
}

function wrongMethod(method: string, allow: string): Response {
  const error = new MayflyError('METHOD_NOT_ALLOWED', `Cannot answer "${method}" here`, {
    details: { allow },
  })
  return problemResponse(problemOf(error), { allow })
}

function allowOf(methods: Methods): string {
  const taken = Object.keys(methods).flatMap((method) =>
    method === 'GET' ? ['GET', 'HEAD'] : method,
  )
  return [...taken, 'OPTIONS'].join(', ')
}
