import { forkAnswer, forkRequest } from '../contract/fork.ts'
import * as z from 'zod'
import { providerRow, threatRow } from '../contract/answers.ts'
import { capabilityCall, capabilityRow } from '../contract/capability.ts'
import {
  effectCall,
  effectExecuted,
  effectRegistered,
  effectRequest,
  effectRows,
  effectSchema,
} from '../contract/effect.ts'
import { auditPage, evidenceBody } from '../contract/evidence.ts'
import { jobRequest } from '../contract/job.ts'
import {
  capturedBody,
  frozenBody,
  liveRow,
  liveSandbox,
  terminatedBody,
  tightenAsked,
  tightenedBody,
  zoneEndedBody,
} from '../contract/live.ts'
import { outcomeSchema } from '../contract/outcome.ts'
import {
  execRequest,
  sessionFile,
  sessionListing,
  sessionRequest,
  sessionRow,
  sessionsEnded,
  timeoutRequest,
} from '../contract/session.ts'
import { riskAnalysisSchema } from '../contract/zones.ts'
import { asJson, callGroups, describedCalls, type DescribedCall, ref } from './described-calls.ts'
import { bodyExamples } from './doors/examples.ts'
import { problemSchema } from './http/problem.ts'
import { defaultProvider } from './doors/configuration.ts'
import { configBody, configInForce } from './http/configuration-body.ts'
import {
  activeContent,
  executionList,
  liveBody,
  mcpMessage,
  pendingExecution,
  readyBody,
  versionBody,
} from './http/schema.ts'
import { zonesAsked, zonesBegun, zonesMonitored, zonesPlanned, zoneTighten } from './doors/zones.ts'

type Json = Readonly<Record<string, unknown>>

const schemas = {
  Job: [jobRequest, 'input'],
  ActiveContent: [activeContent, 'input'],
  Outcome: [outcomeSchema, 'output'],
  Executions: [executionList, 'output'],
  Pending: [pendingExecution, 'output'],
  EffectRequest: [effectRequest, 'input'],
  EffectRegistered: [effectRegistered, 'output'],
  EffectCall: [effectCall, 'input'],
  EffectExecuted: [effectExecuted, 'output'],
  Effect: [effectSchema, 'output'],
  Effects: [effectRows, 'output'],
  CapabilityCall: [capabilityCall, 'input'],
  Capabilities: [z.object({ items: z.array(capabilityRow) }), 'output'],
  ZonesAsked: [zonesAsked, 'input'],
  RiskAnalysis: [riskAnalysisSchema, 'output'],
  ZonesPlanned: [zonesPlanned, 'output'],
  ZonesBegun: [zonesBegun, 'output'],
  ZonesMonitored: [zonesMonitored, 'output'],
  ZoneTighten: [zoneTighten, 'input'],
  ZoneEnded: [zoneEndedBody, 'output'],
  LiveSandbox: [liveSandbox.unwrap().extend(sessionRow.unwrap().partial().shape), 'output'],
  LiveSandboxes: [
    z.object({ items: z.array(liveRow.unwrap().extend(sessionRow.unwrap().partial().shape)) }),
    'output',
  ],
  SessionAsked: [sessionRequest, 'input'],
  Session: [sessionRow, 'output'],
  ForkAsked: [forkRequest, 'input'],
  Forked: [forkAnswer, 'output'],
  SessionTimeout: [timeoutRequest, 'input'],
  SessionsEnded: [sessionsEnded, 'output'],
  SessionListing: [sessionListing, 'output'],
  SessionFile: [sessionFile, 'output'],
  Exec: [execRequest, 'input'],
  Tighten: [tightenAsked, 'input'],
  Tightened: [tightenedBody, 'output'],
  Frozen: [frozenBody, 'output'],
  Captured: [capturedBody, 'output'],
  AuditPage: [auditPage, 'output'],
  Evidence: [evidenceBody, 'output'],
  Terminated: [terminatedBody, 'output'],
  Provider: [providerRow, 'output'],
  DefaultProvider: [defaultProvider, 'input'],
  ConfigPatch: [configBody, 'input'],
  ConfigInForce: [configInForce, 'output'],
  McpMessage: [mcpMessage, 'input'],
  Problem: [problemSchema, 'output'],
  Threat: [threatRow, 'output'],
  Version: [versionBody, 'output'],
  Live: [liveBody, 'output'],
  Ready: [readyBody, 'output'],
} as const satisfies Record<string, readonly [z.ZodType, 'input' | 'output']>

/** OpenAPI 3.1 description of the active endpoint, generated from the schemas that validate it. */
export function openApi(version: string): Json {
  return madeOf(version).document
}

/** The same as JSON, in bytes that no answer has to make or copy again. */
export function openApiBytes(version: string): Uint8Array<ArrayBuffer> {
  return madeOf(version).bytes
}

function madeOf(version: string): MadeDescription {
  if (made?.version === version) return made
  const document = documentOf(version)
  return (made = { version, document, bytes: Buffer.from(JSON.stringify(document)) })
}

interface MadeDescription {
  readonly version: string
  readonly document: Json
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** Made once: it takes 30 ms of the server's only thread, and on loopback no key. */
let made: MadeDescription | undefined

function documentOf(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Mayfly',
      version,
      description:
        'Runs untrusted code in sandboxes. A job that reached a wall responds with 200 and its outcome, whatever its status; ' +
        'a blocked job is 403 and one that no wall can run is 503, both with the outcome. Durations are milliseconds or ' +
        'text such as "5s", sizes bytes or text such as "64MB". Bodies may be application/msgpack too, and answers are ' +
        'where Accept names it.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ key: [] }],
    tags: callGroups.map(({ name, pages }) => ({
      name,
      description: `In this package: ${pages.map((page) => `docs/how-to/${page}.md`).join(', ')}`,
    })),
    paths: paths(),
    components: {
      securitySchemes: {
        key: { type: 'http', scheme: 'bearer', description: 'An API key: mfy_…' },
      },
      schemas: Object.fromEntries(
        Object.entries(schemas).map(([name, [schema, io]]) => [name, schemaOf(schema, io)]),
      ),
    },
  }
}

function paths(): Json {
  const all: Record<string, Record<string, unknown>> = {}
  for (const [key, call] of Object.entries(describedCalls)) {
    const [method = '', path = ''] = key.split(' ')
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)
    all[path] ??= names.length > 0 ? { parameters: names.map(pathParameter) } : {}
    all[path][method.toLowerCase()] = {
      tags: [callGroups.find(({ of }) => of.test(path))!.name],
      ...operation(call, names.length > 0),
    }
  }
  return all
}

function pathParameter(name: string): Json {
  return { name, in: 'path', required: true, schema: { type: 'string' } }
}

function operation(call: DescribedCall, isNamed: boolean): Json {
  const { id, summary, about = 'Needs no key', takes, gives, type, answers, parameters } = call
  const security = call.isOpen ? [] : call.security
  const hasAnswer = gives !== undefined || type !== undefined
  return {
    operationId: id,
    summary,
    description: about,
    ...(takes !== undefined && body(takes)),
    ...(call.takesBytes && { requestBody: { required: true, content: { [bytesType]: text } } }),
    responses: {
      ...(hasAnswer && { 200: { description: summary, content: contentOf(call) } }),
      ...answers,
      ...Object.fromEntries(problemsOf(call, isNamed).map((status) => [status, problem(status)])),
    },
    ...(parameters && { parameters }),
    ...(security && { security }),
  }
}

const text = { schema: { type: 'string' } }
const bytesType = 'application/octet-stream'

function contentOf({ gives, type, streams }: DescribedCall): Json {
  if (type !== undefined && gives === undefined) return { [type]: text }
  const schema = typeof gives === 'string' ? ref(gives) : (gives ?? {})
  const others = [...(type ? [type] : []), ...(streams ? ['text/event-stream'] : [])]
  return { ...asJson(schema), ...Object.fromEntries(others.map((one) => [one, text])) }
}

/** `isNamed`: the path names one resource, which may be missing. */
function problemsOf(call: DescribedCall, isNamed: boolean): readonly number[] {
  const { isOpen, takes, fails = [], problems } = call
  if (problems) return problems
  const ofKey = isOpen ? [] : [401, 403, 429]
  const ofBody = takes === undefined ? [] : [400, 408, 413, 415, 422, 503]
  return [...ofKey, ...ofBody, ...(isNamed ? [404] : []), ...fails]
}

function body(name: string): Json {
  const example = bodyExamples[name]
  const content = { 'application/json': { schema: ref(name), ...(example && { example }) } }
  return { requestBody: { required: true, content } }
}

const meanings: Readonly<Record<number, string>> = {
  400: 'The body is not JSON in UTF-8, has a key twice, or nests deeper than 64',
  401: 'The key or token is missing, unknown, expired or revoked',
  403: 'The key lacks the scope, or the job was blocked; with the outcome of a blocked job',
  404: 'Not found: unknown, expired, or of another tenant',
  408: 'The body arrived too slowly',
  409: 'Conflict with the current state: a job with this Idempotency-Key is running, or a sandbox would be loosened',
  413: 'The body is too large',
  415: 'The body is neither application/json nor application/msgpack',
  422: 'The body does not match the schema; details name the paths',
  429: 'Too many requests; retry after Retry-After',
  503: 'Unavailable here or at this time; with the outcome, for a job',
}

function problem(status: number): Json {
  const schema = ref('Problem')
  const names = status === 429 ? ['Retry-After', ...rateHeaders] : ['Retry-After']
  const headers =
    status === 429 || status === 503
      ? { headers: Object.fromEntries(names.map((name) => [name, { schema: typeOfHeader(name) }])) }
      : {}
  return {
    description: meanings[status],
    ...headers,
    content: { 'application/problem+json': { schema } },
  }
}

/** Headers of the quota nearest its limit; also sent with other answers. */
const rateHeaders = [
  'RateLimit-Limit',
  'RateLimit-Remaining',
  'RateLimit-Reset',
  'RateLimit-Policy',
] as const

function typeOfHeader(name: string): Json {
  return { type: name === 'RateLimit-Policy' ? 'string' : 'integer' }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => delete jsonSchema.readOnly,
  })
  return rest
}
