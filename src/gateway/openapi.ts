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
import { evidenceBody } from '../contract/evidence.ts'
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
import { riskAnalysisSchema } from '../contract/zones.ts'
import { widthMax, widthMin } from '../picture/svg.js'
import { bodyExamples } from './doors/examples.ts'
import { problemSchema } from './http/problem.ts'
import { defaultProvider } from './doors/configuration.ts'
import { configBody, configInForce } from './http/configuration-body.ts'
import {
  activeContent,
  executionList,
  liveBody,
  pending,
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
  Pending: [pending, 'output'],
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
  LiveSandbox: [liveSandbox, 'output'],
  LiveSandboxes: [z.object({ items: z.array(liveRow) }), 'output'],
  Tighten: [tightenAsked, 'input'],
  Tightened: [tightenedBody, 'output'],
  Frozen: [frozenBody, 'output'],
  Captured: [capturedBody, 'output'],
  Evidence: [evidenceBody, 'output'],
  Terminated: [terminatedBody, 'output'],
  Provider: [providerRow, 'output'],
  DefaultProvider: [defaultProvider, 'input'],
  ConfigPatch: [configBody, 'input'],
  ConfigInForce: [configInForce, 'output'],
  Problem: [problemSchema, 'output'],
  Threat: [threatRow, 'output'],
  Version: [versionBody, 'output'],
  Live: [liveBody, 'output'],
  Ready: [readyBody, 'output'],
} as const satisfies Record<string, readonly [z.ZodType, 'input' | 'output']>

const key = [{ key: [] }]
const keyOrToken = [{ key: [] }, {}]
const jobProblems = [400, 401, 403, 408, 413, 415, 422, 429, 503]

/** OpenAPI 3.1 description of the active endpoint, generated from the schemas that validate it. */
export function openApi(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Mayfly',
      version,
      description:
        'Runs untrusted code in sandboxes. A job that reached a wall answers 200 with its outcome, whatever its status; ' +
        'a blocked job is 403 and one that no wall can run is 503, both with the outcome. Durations are milliseconds or ' +
        'text such as "5s", sizes bytes or text such as "64MB". Bodies may be application/msgpack too, and answers are ' +
        'where Accept names it.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: key,
    paths: {
      ...executionPaths(),
      ...oneExecutionPaths(),
      ...effectPaths(),
      ...capabilityPaths(),
      ...sandboxPaths(),
      ...evidencePaths(),
      ...zonePaths(),
      ...liveZonePaths(),
      ...activeContentPaths(),
      ...configPaths(),
      ...threatPaths(),
      ...descriptionPaths(),
    },
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

const orderProblems = [401, 403, 404, 408, 409, 429, 503]
const changeProblems = [400, 401, 403, 408, 413, 415, 422, 429, 503]
const pathId = { name: 'id', in: 'path', required: true, schema: { type: 'string' } }
const outcomeOrPending = { oneOf: [ref('Outcome'), ref('Pending')] }

function executionPaths(): Json {
  return {
    '/v1/executions': {
      post: execute(),
      get: {
        ...call(
          'listExecutions',
          'List executions',
          'Newest first, running ones included; kept for 24 hours or 1 GB. All given labels must match',
          {},
          'Executions',
          [401, 403, 422, 429],
        ),
        parameters: [
          query('limit', { type: 'integer', minimum: 1, maximum: 100, default: 20 }),
          query('cursor', { type: 'string' }, 'next of an earlier answer'),
          query('label', { type: 'array', items: { type: 'string' } }, 'name:value'),
        ],
      },
    },
  }
}

function oneExecutionPaths(): Json {
  return {
    '/v1/executions/{id}': {
      parameters: [pathId],
      get: {
        ...alsoStream(
          call(
            'getExecution',
            'Get one outcome',
            'Before the end: whether it is queued or running. As text/event-stream: output and timeline so far, as far ' +
              'as the last 64 KiB hold them, then live events, and outcome as the last one; for an ended job outcome ' +
              'alone. Each other event has an id, which rises by one: a gap means that events were no longer kept',
            {},
            outcomeOrPending,
            [401, 403, 404, 429],
          ),
        ),
        parameters: [
          header('Last-Event-ID', 'Id of the last known event; the stream continues after it'),
        ],
      },
      delete: withResponse(
        call(
          'cancelExecution',
          'Cancel one job',
          'Answers with the outcome if the job had ended already',
          {},
          'Outcome',
          [401, 403, 404, 429],
        ),
        202,
        {
          description: 'The job is being ended',
          content: { 'application/json': { schema: ref('Pending') } },
        },
      ),
    },
    '/v1/executions/{id}/timeline.svg': {
      parameters: [pathId],
      get: {
        ...stream(
          'drawExecution',
          'Draw the timeline of one execution',
          'Phases, the rights left in each control, events and what was cut off, as an SVG without external ' +
            'references. For a running job, its timeline so far',
          'image/svg+xml',
          [401, 403, 404, 422, 429],
        ),
        parameters: [
          query(
            'width',
            { type: 'integer', minimum: widthMin, maximum: widthMax, default: 880 },
            'pixels',
          ),
        ],
      },
    },
  }
}

function activeContentPaths(): Json {
  return {
    '/active-content': {
      post: {
        ...alsoStream(
          call(
            'executeActiveContent',
            'Run one piece of active content',
            'By the session token of a page of the static endpoint, or by an API key. As text/event-stream it begins ' +
              'with plan, the phases of the job',
            body('ActiveContent'),
            'Outcome',
            jobProblems,
          ),
        ),
        security: keyOrToken,
      },
    },
  }
}

function configPaths(): Json {
  return {
    '/v1/providers': {
      get: call(
        'listProviders',
        'List the providers of this machine',
        'With the layers of each, and the reason why one is not available',
        {},
        { type: 'array', items: ref('Provider') },
        [401, 403, 429],
      ),
    },
    '/v1/providers/default': {
      put: call(
        'preferProvider',
        'Set the default provider',
        'From the next job on; running jobs end on theirs. Never below the tier that a job needs',
        body('DefaultProvider'),
        'ConfigInForce',
        changeProblems,
      ),
    },
    '/v1/config': {
      patch: call(
        'changeConfig',
        'Change the configuration in force',
        'From the next job on, until the server ends. A change that widens needs the scope config:widen, which admin does not ' +
          'include; details.widens names it',
        body('ConfigPatch'),
        'ConfigInForce',
        changeProblems,
      ),
    },
  }
}

function threatPaths(): Json {
  return {
    '/v1/threats': {
      get: {
        ...call(
          'listThreats',
          'List threats',
          'The latest, oldest first, at most 500: blocked, audited or unparsed code, denied access, anomalies and refused output. A tenant sees its own',
          {},
          { type: 'array', items: ref('Threat') },
          [401, 403, 429],
        ),
        parameters: [
          query('after', { type: 'integer', minimum: 0 }, 'seq of the last known threat'),
        ],
      },
    },
    '/v1/threats/stream': {
      get: stream(
        'streamThreats',
        'Stream threats',
        'Server-sent events "threat", each with a Threat; with Last-Event-ID the stream continues after that one',
        'text/event-stream',
        [401, 403, 429, 503],
      ),
    },
  }
}

/** Figures, this document, and the state of the server. */
function descriptionPaths(): Json {
  return {
    '/metrics': {
      get: stream(
        'metrics',
        'Get metrics',
        'Prometheus text format 0.0.4',
        'text/plain',
        [401, 403, 429],
      ),
    },
    '/openapi.json': {
      get: call(
        'describe',
        'Get this OpenAPI document',
        'OpenAPI 3.1; without a key on loopback',
        {},
        { type: 'object' },
        [401, 429],
      ),
    },
    '/docs': {
      get: asHtml(
        call(
          'readDocs',
          'Get this document as a page',
          'One page, with an example for each call; without a key on loopback',
          {},
          {},
          [401, 403, 429],
        ),
      ),
    },
    '/livez': { get: open('isAlive', 'Whether the server answers', 'Live', []) },
    '/healthz': { get: open('isHealthy', 'The same as /livez', 'Live', []) },
    '/readyz': {
      get: open('isReady', 'Whether a wall is proved and jobs are admitted', 'Ready', [503]),
    },
    '/version': { get: open('version', 'Name and version of the server', 'Version', []) },
  }
}

function effectPaths(): Json {
  return {
    '/api/effects': {
      get: call(
        'listEffects',
        'List effects',
        'Effects of the tenant by name, without their code',
        {},
        'Effects',
        [401, 403, 429],
      ),
    },
    '/api/effects/register': {
      post: call(
        'registerEffect',
        'Register an effect',
        'Stores code to run it by name. Code with a threat score of 80 or more is blocked; an effect of the same name is replaced',
        body('EffectRequest'),
        'EffectRegistered',
        [400, 401, 403, 408, 409, 413, 415, 422, 429, 503],
      ),
    },
    '/api/effects/execute': {
      post: call(
        'executeEffect',
        'Run a registered effect',
        'The outcome of one run, with the name of the effect',
        body('EffectCall'),
        'EffectExecuted',
        [...jobProblems, 404],
      ),
    },
    '/api/effects/{id}': {
      parameters: [pathId],
      get: call(
        'readEffect',
        'Get one effect',
        'With its code',
        {},
        'Effect',
        [401, 403, 404, 429],
      ),
      delete: withoutBody(
        call(
          'removeEffect',
          'Remove an effect',
          'Takes effect at once',
          {},
          {},
          [401, 403, 404, 429],
        ),
      ),
    },
  }
}

function capabilityPaths(): Json {
  return {
    '/v1/capabilities': {
      get: call(
        'listCapabilities',
        'List capabilities',
        'Built-in capabilities, then the effects of the tenant',
        {},
        'Capabilities',
        [401, 403, 429],
      ),
    },
    '/v1/capabilities/{name}': {
      parameters: [{ ...pathId, name: 'name' }],
      post: alsoStream(
        call(
          'callCapability',
          'Call a capability',
          'Isolated if the registry entry says so; with the limits, network and files that are configured for its name',
          body('CapabilityCall'),
          'Outcome',
          [...jobProblems, 404],
        ),
      ),
    },
  }
}

function sandboxPaths(): Json {
  const order = (name: string, summary: string, description: string, answer: string): Json => ({
    parameters: [pathId],
    post: call(name, summary, description, {}, answer, orderProblems),
  })
  return {
    '/v1/sandboxes': {
      get: call(
        'listSandboxes',
        'List live sandboxes',
        "Newest first: a tenant's own, and all of them for an admin",
        {},
        'LiveSandboxes',
        [401, 403, 429, 503],
      ),
    },
    '/v1/sandboxes/{id}': {
      parameters: [pathId],
      get: call(
        'readSandbox',
        'Get one sandbox',
        'Phase, controls in force, and reductions so far',
        {},
        'LiveSandbox',
        [401, 403, 404, 429, 503],
      ),
      delete: call(
        'terminateSandbox',
        'Terminate one sandbox',
        'Answers when the code has ended; the status of the outcome is terminated',
        {},
        'Terminated',
        [401, 403, 404, 429, 503],
      ),
    },
    '/v1/sandboxes/{id}/tighten': {
      parameters: [pathId],
      post: call(
        'tightenSandbox',
        'Tighten one sandbox',
        'Permanent. Controls as in a phase; omitted ones stay. A change that would loosen, or that its wall cannot make while it runs, ' +
          'is 409, and details.inForce says what holds',
        body('Tighten'),
        'Tightened',
        [400, ...orderProblems, 413, 415, 422],
      ),
    },
    '/v1/sandboxes/{id}/freeze': order(
      'freezeSandbox',
      'Freeze one sandbox',
      'Its schedule continues: phases end at their time. 409 if its wall cannot freeze',
      'Frozen',
    ),
    '/v1/sandboxes/{id}/thaw': order(
      'thawSandbox',
      'Thaw one sandbox',
      'Resumes a frozen sandbox',
      'Frozen',
    ),
    '/v1/sandboxes/{id}/capture': order(
      'captureSandbox',
      'Capture one sandbox',
      'As much as its wall supports; kind none if it supports no capture',
      'Captured',
    ),
  }
}

function evidencePaths(): Json {
  const inPath = (name: string): Json => ({ ...pathId, name })
  return {
    '/v1/evidence/{id}': {
      parameters: [pathId],
      get: call(
        'readEvidence',
        'List captures of an execution',
        "The earliest first, each part with its digest: of a tenant's own, and of any for an admin",
        {},
        'Evidence',
        [401, 403, 404, 429, 503],
      ),
    },
    '/v1/evidence/{id}/{capture}/{part}': {
      parameters: [pathId, inPath('capture'), inPath('part')],
      get: stream(
        'readEvidencePart',
        'Get a part of a capture',
        'Needs scope operate, and is written to the record. Repr-Digest is the digest of the bytes',
        'application/octet-stream',
        [401, 403, 404, 429, 503],
      ),
    },
  }
}

function zonePaths(): Json {
  const asked = body('ZonesAsked')
  return {
    '/v1/zones': {
      post: withResponse(
        withoutOk(
          call(
            'beginZones',
            'Run code in temporal zones',
            'Code without annotations is split only where its result stays the same. The outcome is at /v1/executions/{id}',
            asked,
            {},
            [...jobProblems, 404],
          ),
        ),
        202,
        {
          description: 'The execution has begun, in these zones',
          headers: { Location: { schema: { type: 'string' } } },
          content: { 'application/json': { schema: ref('ZonesBegun') } },
        },
      ),
    },
    '/v1/zones/analysis': {
      post: call(
        'analyseZones',
        'Analyse the zones of code',
        'Areas of the code by line, and how it can be split. Nothing runs',
        asked,
        'RiskAnalysis',
        [...jobProblems, 404],
      ),
    },
    '/v1/zones/plan': {
      post: call(
        'planZones',
        'Plan the zones of code',
        'Lifespan, controls, channels and code of each zone. Nothing runs',
        asked,
        'ZonesPlanned',
        [...jobProblems, 404],
      ),
    },
  }
}

/** Zones of an execution that has begun. */
function liveZonePaths(): Json {
  const pathZone = { name: 'zone', in: 'path', required: true, schema: { type: 'string' } }
  return {
    '/v1/zones/{id}': {
      parameters: [pathId],
      get: call(
        'monitorZones',
        'Get the zones of an execution',
        'Live zones with their phases; after the end of the execution, the end of each',
        {},
        'ZonesMonitored',
        [401, 403, 404, 429],
      ),
    },
    '/v1/zones/{id}/{zone}': {
      parameters: [pathId, pathZone],
      delete: call(
        'endZone',
        'End one zone',
        'Other zones continue, and calls to the ended one fail; ending main ends the execution',
        {},
        'ZoneEnded',
        [401, 403, 404, 429, 503],
      ),
    },
    '/v1/zones/{id}/{zone}/tighten': {
      parameters: [pathId, pathZone],
      post: call(
        'tightenZone',
        'Tighten one zone',
        'Permanent; 409 for a change that would loosen. Channels to zones that still have the right are revoked',
        body('ZoneTighten'),
        'Tightened',
        [400, ...orderProblems, 413, 415, 422],
      ),
    },
  }
}

function withoutOk(operation: Json): Json {
  const { 200: _, ...responses } = operation['responses'] as Json
  return { ...operation, responses }
}

/** POST with three forms of answer on one path. */
function execute(): Json {
  const whole = call(
    'execute',
    'Run one job',
    'A job in, an outcome out. As text/event-stream: events stdout and stderr with {"text"}, event with a timeline ' +
      'entry, and always last outcome (or problem, where there is none)',
    body('Job'),
    'Outcome',
    [...jobProblems, 409],
  )
  return withResponse(
    {
      ...alsoStream(whole),
      parameters: [
        header(
          'Idempotency-Key',
          'The same key and body answer with the same outcome for 24 hours',
        ),
        header('Prefer', 'respond-async answers at once with where the outcome will be'),
      ],
    },
    202,
    {
      description: 'It was taken; Location says where its outcome will be',
      headers: { Location: { schema: { type: 'string' } } },
      content: { 'application/json': { schema: ref('Pending') } },
    },
  )
}

/** Adds `text/event-stream` to the answers of an operation. */
function alsoStream(operation: Json): Json {
  const { 200: ok } = operation['responses'] as Record<number, { content: Json }>
  const content = { ...ok!.content, 'text/event-stream': { schema: { type: 'string' } } }
  return withResponse(operation, 200, { ...ok, content })
}

function asHtml(operation: Json): Json {
  const content = { 'text/html': { schema: { type: 'string' } } }
  return withResponse(operation, 200, { description: 'A page', content })
}

function withResponse(operation: Json, status: number, response: Json): Json {
  const responses = { ...(operation['responses'] as Json), [status]: response }
  return { ...operation, responses }
}

function query(name: string, schema: Json, description?: string): Json {
  return { name, in: 'query', ...(description && { description }), schema }
}

function header(name: string, description: string): Json {
  return { name, in: 'header', description, schema: { type: 'string' } }
}

function call(
  operationId: string,
  summary: string,
  description: string,
  request: Json,
  answer: string | Json,
  problems: readonly number[],
): Json {
  const schema = typeof answer === 'string' ? ref(answer) : answer
  return {
    operationId,
    summary,
    description,
    ...request,
    responses: {
      200: { description: summary, content: { 'application/json': { schema } } },
      ...Object.fromEntries(problems.map((status) => [status, problem(status)])),
    },
  }
}

/** Operation that answers with a type other than JSON. */
function stream(
  operationId: string,
  summary: string,
  description: string,
  type: string,
  problems: readonly number[],
): Json {
  const asJson = call(operationId, summary, description, {}, {}, problems)
  const content = { [type]: { schema: { type: 'string' } } }
  return withResponse(asJson, 200, { description: summary, content })
}

function open(
  operationId: string,
  summary: string,
  answer: string,
  problems: readonly number[],
): Json {
  return { ...call(operationId, summary, 'Needs no key', {}, answer, problems), security: [] }
}

function body(name: string): Json {
  const example = bodyExamples[name]
  const content = { 'application/json': { schema: ref(name), ...(example && { example }) } }
  return { requestBody: { required: true, content } }
}

const meanings: Readonly<Record<number, string>> = {
  400: 'The body is not JSON in UTF-8, has a key twice, or nests deeper than 64',
  401: 'No key or token, or none that holds',
  403: 'The scope is missing, or the job was blocked: then with its outcome',
  404: 'Nothing of this name: unknown, forgotten, or of another tenant',
  408: 'The body came too slowly',
  409: 'As things are it cannot be done: a job under this Idempotency-Key is under way, or a sandbox would be loosened',
  413: 'The body is too large',
  415: 'The body is neither application/json nor application/msgpack',
  422: 'The body is not what this call takes; details name the paths',
  429: 'Too many requests; Retry-After says when',
  503: 'Nobody can run it here or now; where it was a job, with its outcome',
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

function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => delete jsonSchema.readOnly,
  })
  return rest
}

/** Operation that answers 204. */
function withoutBody({ responses, ...operation }: Json): Json {
  const { 200: _, ...others } = responses as Json
  return { ...operation, responses: { 204: { description: 'Done' }, ...others } }
}
