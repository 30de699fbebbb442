import { widthMax, widthMin } from '../picture/svg.js'

type Json = Readonly<Record<string, unknown>>

/** Description of one call. Statuses that follow from its path, its body and its key are added by `openapi.ts`. */
export interface DescribedCall {
  readonly id: string
  readonly summary: string
  /** Absent for a call that needs no key. */
  readonly about?: string
  /** Schema of the request body, by name. */
  readonly takes?: string
  /** True if the request body is the bytes of a file. */
  readonly takesBytes?: true
  /** Schema of the response 200, or its name. */
  readonly gives?: string | Json
  /** True if the answer may be `text/event-stream` as well. */
  readonly streams?: true
  /** Media type of an answer that is not JSON, instead of `gives` or beside it. */
  readonly type?: string
  /** Other success responses, in addition to 200 or instead of it. */
  readonly answers?: Readonly<Record<number, Json>>
  /** Statuses of problems, in addition to the ones that `openapi.ts` derives. */
  readonly fails?: readonly number[]
  /** Statuses of problems, instead of the ones that `openapi.ts` derives. */
  readonly problems?: readonly number[]
  readonly parameters?: readonly Json[]
  /** True if it needs no key. */
  readonly isOpen?: true
  readonly security?: readonly Json[]
}

/** Answer and headers of a call that runs a job. */
const accepted = {
  202: located('The job was accepted; Location is the URL of its outcome', 'Pending'),
}
const jobHeaders = [
  header(
    'Idempotency-Key',
    'Repeated requests with the same key and body return the same outcome for 24 hours',
  ),
  header('Prefer', 'respond-async: respond with 202 and the URL of the outcome at once'),
]
const byLabel = query('label', { type: 'array', items: { type: 'string' } }, 'name:value')

/** Groups of calls by their paths, the first that fits, in the order of the document; with the pages of `docs/how-to` on them. */
export const callGroups: readonly {
  readonly name: string
  readonly of: RegExp
  readonly pages: readonly string[]
}[] = [
  {
    name: 'Jobs',
    of: /^\/(?:v1\/executions|active-content)/,
    pages: ['executions', 'pages', 'idempotent-jobs'],
  },
  {
    name: 'Sessions and running sandboxes',
    of: /^\/v1\/sandboxes/,
    pages: ['sessions', 'operate'],
  },
  {
    name: 'Effects and capabilities',
    of: /^\/(?:api\/effects|v1\/capabilities)/,
    pages: ['effects', 'capabilities'],
  },
  { name: 'Zones', of: /^\/v1\/zones/, pages: ['zones'] },
  { name: 'MCP', of: /^\/mcp/, pages: ['mcp'] },
  {
    name: 'Record and evidence',
    of: /^\/v1\/(?:audit|evidence|threats)/,
    pages: ['evidence', 'watch'],
  },
  { name: 'The server', of: /^/, pages: ['change-a-server', 'give-access', 'watch'] },
]

/** Every call of the active endpoint, in the order of the document. */
export const describedCalls: Readonly<Record<string, DescribedCall>> = {
  'POST /v1/executions': {
    id: 'execute',
    summary: 'Run one job',
    about:
      'A job in, an outcome out. As text/event-stream: events stdout and stderr with {"text"}, event with a ' +
      'timeline entry, and always last outcome (or problem, if there is none)',
    takes: 'Job',
    gives: 'Outcome',
    streams: true,
    answers: accepted,
    fails: [409],
    parameters: jobHeaders,
  },
  'GET /v1/executions': {
    id: 'listExecutions',
    summary: 'List executions',
    about:
      'Newest first, running ones included; kept for 24 hours or 1 GB. All given labels must match',
    gives: 'Executions',
    fails: [422],
    parameters: [
      query('limit', { type: 'integer', minimum: 1, maximum: 100, default: 20 }),
      query('cursor', { type: 'string' }, 'next of an earlier answer'),
      byLabel,
    ],
  },
  'GET /v1/executions/{id}': {
    id: 'getExecution',
    summary: 'Get one outcome',
    about:
      'Before the end: whether it is queued or running. As text/event-stream: output and timeline so far, as far as ' +
      'the last 64 KiB hold them, then live events, and outcome as the last one; for an ended job outcome alone. ' +
      'Other events have consecutive ids: a gap means that events were evicted',
    gives: { oneOf: [ref('Outcome'), ref('Pending')] },
    streams: true,
    parameters: [
      header('Last-Event-ID', 'Id of the last known event; the stream continues after it'),
    ],
  },
  'DELETE /v1/executions/{id}': {
    id: 'cancelExecution',
    summary: 'Cancel one job',
    about: 'Returns the outcome if the job has already ended',
    gives: 'Outcome',
    answers: { 202: { description: 'The job is being ended', content: asJson(ref('Pending')) } },
  },
  'GET /v1/executions/{id}/artifacts/{path}': {
    id: 'readArtifact',
    summary: 'Get the bytes of one artifact',
    about:
      'Of an ended execution, kept as long as its outcome; path is that of the artifact, with its slashes. The content is ' +
      'that of the job: untrusted',
    type: 'application/octet-stream',
  },
  'GET /v1/executions/{id}/timeline.svg': {
    id: 'drawExecution',
    summary: 'Draw the timeline of one execution',
    about:
      'Phases, the rights left in each control, events and what was cut off, as an SVG without external references. ' +
      'For a running job, its timeline so far',
    type: 'image/svg+xml',
    fails: [422],
    parameters: [
      query(
        'width',
        { type: 'integer', minimum: widthMin, maximum: widthMax, default: 880 },
        'pixels',
      ),
    ],
  },
  'POST /mcp': {
    id: 'mcp',
    summary: 'Model Context Protocol',
    about:
      'JSON-RPC of the Model Context Protocol over streamable HTTP, for agents; revisions 2026-07-28 and 2025-11-25. Errors ' +
      'of the protocol are JSON-RPC errors',
    takes: 'McpMessage',
    gives: { type: 'object' },
    streams: true,
    fails: [404],
  },
  'GET /mcp': {
    id: 'mcpStream',
    summary: 'Notifications of an MCP session',
    about: 'For clients of revisions until 2025-11-25, with their Mcp-Session-Id',
    type: 'text/event-stream',
    fails: [404, 405, 503],
  },
  'DELETE /mcp': {
    id: 'mcpEnd',
    summary: 'End an MCP session',
    about: 'For clients of revisions until 2025-11-25, with their Mcp-Session-Id',
    answers: { 200: { description: 'Done' } },
    fails: [404, 405, 503],
  },
  'GET /api/effects': {
    id: 'listEffects',
    summary: 'List effects',
    about: 'Effects of the tenant by name, without their code',
    gives: 'Effects',
  },
  'POST /api/effects/register': {
    id: 'registerEffect',
    summary: 'Register an effect',
    about:
      'Stores code to run it by name. Code with a threat score of 80 or more is blocked; an effect of the same name ' +
      'is replaced',
    takes: 'EffectRequest',
    gives: 'EffectRegistered',
    fails: [409],
  },
  'POST /api/effects/execute': {
    id: 'executeEffect',
    summary: 'Run a registered effect',
    about: 'The outcome of one run, with the name of the effect',
    takes: 'EffectCall',
    gives: 'EffectExecuted',
    fails: [404],
  },
  'GET /api/effects/{id}': {
    id: 'readEffect',
    summary: 'Get one effect',
    about: 'With its code',
    gives: 'Effect',
  },
  'DELETE /api/effects/{id}': {
    id: 'removeEffect',
    summary: 'Remove an effect',
    about: 'Takes effect at once',
    answers: { 204: { description: 'Done' } },
  },
  'GET /v1/capabilities': {
    id: 'listCapabilities',
    summary: 'List capabilities',
    about: 'Built-in capabilities, then the effects of the tenant',
    gives: 'Capabilities',
  },
  'POST /v1/capabilities/{name}': {
    id: 'callCapability',
    summary: 'Call a capability',
    about:
      'Isolated if the registry entry says so; with the limits, network and files that are configured for its name',
    takes: 'CapabilityCall',
    gives: 'Outcome',
    streams: true,
  },
  'POST /v1/sandboxes': {
    id: 'openSandbox',
    summary: 'Open a session',
    about:
      'A sandbox that stays open for the key that opened it, until its timeout, which is renewable, or DELETE. Takes ' +
      'the fields of a job without its code; limits.timeout is that of each exec',
    takes: 'SessionAsked',
    answers: { 201: located('The session waits for its first exec', 'Session') },
    fails: [403, 409, 410, 429],
    parameters: [
      header(
        'Idempotency-Key',
        'Repeated requests with the same key and body return the same session for 24 hours: 201 while it is open, 410 after its end',
      ),
    ],
  },
  'GET /v1/sandboxes': {
    id: 'listSandboxes',
    summary: 'List live sandboxes',
    about:
      'Newest first: the sessions of a key of scope run, all of its tenant with scope read or operate, and all for an ' +
      'admin. With labels, sessions only; all given labels must match',
    gives: 'LiveSandboxes',
    fails: [422, 503],
    parameters: [byLabel],
  },
  'DELETE /v1/sandboxes': {
    id: 'closeSandboxes',
    summary: 'End sessions by label',
    about: 'Ends the sessions of this key whose labels all match',
    gives: 'SessionsEnded',
    fails: [422, 503],
    parameters: [byLabel],
  },
  'GET /v1/sandboxes/{id}': {
    id: 'readSandbox',
    summary: 'Get one sandbox',
    about:
      'Phase, controls in force, and reductions so far; of a session its deadline, labels and execs',
    gives: 'LiveSandbox',
    fails: [409, 410, 503],
  },
  'DELETE /v1/sandboxes/{id}': {
    id: 'terminateSandbox',
    summary: 'End a session, or terminate a job',
    about:
      'A session of this key is closed, and the response is the outcome of its whole life. A running job is terminated; ' +
      'the response is sent when its code has ended',
    gives: { oneOf: [ref('Outcome'), ref('Terminated')] },
    fails: [409, 410, 503],
  },
  'POST /v1/sandboxes/{id}/run': {
    id: 'runInSandbox',
    summary: 'Run one exec in a session',
    about:
      'A cell of code, whose last expression is the result, or a command; the answer is an outcome with session, or a ' +
      'stream of it as in /v1/executions. One at a time: 409 BUSY. 410 when the session has ended',
    takes: 'Exec',
    gives: 'Outcome',
    streams: true,
    answers: accepted,
    fails: [409, 410],
    parameters: jobHeaders,
  },
  'GET /v1/sandboxes/{id}/files': {
    id: 'sandboxFiles',
    summary: 'List or get files of a session',
    about: 'Lists below its working folder; with path, the bytes of that file, 32 MB at most',
    gives: 'SessionListing',
    type: 'application/octet-stream',
    fails: [409, 410, 413, 422],
    parameters: [query('path', { type: 'string' }, 'a file below the working folder')],
  },
  'PUT /v1/sandboxes/{id}/files': {
    id: 'putSandboxFile',
    summary: 'Put a file into a session',
    about:
      'The body becomes the file; parent folders are made, and a file of that name is replaced',
    takesBytes: true,
    gives: 'SessionFile',
    fails: [408, 409, 410, 413, 422, 503],
    parameters: [query('path', { type: 'string' }, 'path below the working folder')],
  },
  'GET /v1/sandboxes/{id}/pty': {
    id: 'sandboxTerminal',
    summary: 'Open a terminal in a session',
    about:
      'Upgrades to a WebSocket. Binary messages are bytes of the terminal, 64 KiB at most. Text messages are JSON: ' +
      '{"resize": {"cols", "rows"}} and {"signal": "SIGINT"} from the client, {"exit": {"code", "signal"}} from the ' +
      'server, which then closes with 1000. A client that cannot send a header sends {"token": "…"} first; a problem ' +
      'is then {"problem": …}, and a close with 4000 plus its status. A malformed control message closes with 1008, a ' +
      'message that is too large with 1009. Four at a time in one session: 503 OVERLOADED. 409 after a phase closed ' +
      'what a terminal needs',
    answers: { 101: { description: 'A terminal is open' } },
    fails: [409, 410, 422, 503],
    parameters: [
      query(
        'command',
        { type: 'array', items: { type: 'string' } },
        'words, or one line for sh; default: a shell',
      ),
      query('cols', { type: 'integer', minimum: 1, maximum: 1000 }, 'columns; default 80'),
      query('rows', { type: 'integer', minimum: 1, maximum: 1000 }, 'rows; default 24'),
      query('term', { type: 'string' }, 'TERM; default xterm-256color'),
    ],
  },
  'POST /v1/sandboxes/{id}/fork': {
    id: 'forkSandbox',
    summary: 'Fork a session',
    about:
      'Makes 1 to 8 sessions of one in a virtual machine, while it goes on; all are opened, or none. Each has the ' +
      'stricter of the bounds of its parent and of those asked for, and random values, names and ids of its own. 409 BUSY during ' +
      'an exec, a file request or a terminal; 422 FORK_UNSUPPORTED where its wall cannot be copied, ' +
      'or its phases have conditions or a CPU clock',
    takes: 'ForkAsked',
    parameters: [
      header(
        'Idempotency-Key',
        'Repeated requests with the same key and body return the same answer for 24 hours, also when a child has ended since',
      ),
    ],
    answers: {
      201: {
        description: 'The children wait for their first exec',
        content: asJson(ref('Forked')),
      },
    },
    fails: [403, 409, 410, 429, 503],
  },
  'POST /v1/sandboxes/{id}/timeout': {
    id: 'renewSandbox',
    summary: 'Renew the timeout of a session',
    about: 'Counted from now; limited by the maximum lifetime of a session, [sandboxes] lifetime',
    takes: 'SessionTimeout',
    gives: 'Session',
    fails: [410],
  },
  'POST /v1/sandboxes/{id}/tighten': {
    id: 'tightenSandbox',
    summary: 'Tighten one sandbox',
    about:
      'Permanent. Controls as in a phase; omitted ones stay. A change that would loosen, or that its wall cannot ' +
      'make while it runs, is 409; details.inForce has the controls in force',
    takes: 'Tighten',
    gives: 'Tightened',
    fails: [409],
  },
  'POST /v1/sandboxes/{id}/freeze': {
    id: 'freezeSandbox',
    summary: 'Freeze one sandbox',
    about: 'Its schedule continues: phases end at their time. 409 if its wall cannot freeze',
    gives: 'Frozen',
    fails: [408, 409, 503],
  },
  'POST /v1/sandboxes/{id}/thaw': {
    id: 'thawSandbox',
    summary: 'Thaw one sandbox',
    about: 'Resumes a frozen sandbox',
    gives: 'Frozen',
    fails: [408, 409, 503],
  },
  'POST /v1/sandboxes/{id}/resume': {
    id: 'resumeSandbox',
    summary: 'Resume one sandbox',
    about: 'The same as thaw, by its usual name elsewhere',
    gives: 'Frozen',
    fails: [408, 409, 503],
  },
  'POST /v1/sandboxes/{id}/capture': {
    id: 'captureSandbox',
    summary: 'Capture one sandbox',
    about: 'Captures as much as the wall supports; kind none if it supports no capture',
    gives: 'Captured',
    fails: [408, 409, 503],
  },
  'GET /v1/evidence/{id}': {
    id: 'readEvidence',
    summary: 'List captures of an execution',
    about:
      "The earliest first, each part with its digest: of a tenant's own, and of any for an admin",
    gives: 'Evidence',
    fails: [503],
  },
  'GET /v1/evidence/{id}/{capture}/{part}': {
    id: 'readEvidencePart',
    summary: 'Get a part of a capture',
    about:
      'Needs scope operate, and is written to the record. Repr-Digest is the digest of the bytes',
    type: 'application/octet-stream',
    fails: [503],
  },
  'POST /v1/zones': {
    id: 'beginZones',
    summary: 'Run code in temporal zones',
    about:
      'Code without annotations is split only where its result stays the same. The outcome is at ' +
      '/v1/executions/{id}',
    takes: 'ZonesAsked',
    answers: { 202: located('The execution has begun, in these zones', 'ZonesBegun') },
    fails: [404],
  },
  'POST /v1/zones/analysis': {
    id: 'analyseZones',
    summary: 'Analyse the zones of code',
    about: 'Areas of the code by line, and how it can be split. Nothing runs',
    takes: 'ZonesAsked',
    gives: 'RiskAnalysis',
    fails: [404],
  },
  'POST /v1/zones/plan': {
    id: 'planZones',
    summary: 'Plan the zones of code',
    about: 'Lifespan, controls, channels and code of each zone. Nothing runs',
    takes: 'ZonesAsked',
    gives: 'ZonesPlanned',
    fails: [404],
  },
  'GET /v1/zones/{id}': {
    id: 'monitorZones',
    summary: 'Get the zones of an execution',
    about: 'Live zones with their phases; after the end of the execution, the end of each',
    gives: 'ZonesMonitored',
  },
  'DELETE /v1/zones/{id}/{zone}': {
    id: 'endZone',
    summary: 'End one zone',
    about: 'Other zones continue, and calls to the ended one fail; ending main ends the execution',
    gives: 'ZoneEnded',
    fails: [503],
  },
  'POST /v1/zones/{id}/{zone}/tighten': {
    id: 'tightenZone',
    summary: 'Tighten one zone',
    about:
      'Permanent; 409 for a change that would loosen. Channels to zones that still have the right are revoked',
    takes: 'ZoneTighten',
    gives: 'Tightened',
    fails: [409],
  },
  'POST /active-content': {
    id: 'executeActiveContent',
    summary: 'Run one piece of active content',
    about:
      'By the session token of a page of the static endpoint, or by an API key. As text/event-stream it begins with ' +
      'plan, the phases of the job',
    takes: 'ActiveContent',
    gives: 'Outcome',
    streams: true,
    security: [{ key: [] }, {}],
  },
  'GET /v1/providers': {
    id: 'listProviders',
    summary: 'List the providers of this machine',
    about: 'With the layers of each, and the reason why one is not available',
    gives: { type: 'array', items: ref('Provider') },
  },
  'PUT /v1/providers/default': {
    id: 'preferProvider',
    summary: 'Set the default provider',
    about:
      'From the next job on; running jobs end on theirs. Never below the tier that a job needs',
    takes: 'DefaultProvider',
    gives: 'ConfigInForce',
  },
  'PATCH /v1/config': {
    id: 'changeConfig',
    summary: 'Change the configuration in force',
    about:
      'From the next job on, until the server ends. A change that widens needs the scope config:widen, which admin ' +
      'does not include; details.widens names it',
    takes: 'ConfigPatch',
    gives: 'ConfigInForce',
  },
  'GET /v1/audit': {
    id: 'readAudit',
    summary: 'Read the audit log',
    about:
      'Newest line first: a tenant reads the lines of its own jobs, an admin every line. A page may hold fewer lines ' +
      'than asked for and still have a next. The log is verified with "mayfly audit verify", not by its reader',
    gives: 'AuditPage',
    fails: [422],
    parameters: [
      query('limit', { type: 'integer', minimum: 1, maximum: 100, default: 20 }),
      query('cursor', { type: 'string' }, 'next of an earlier answer'),
      query('run', { type: 'string' }, 'lines of one execution only'),
    ],
  },
  'GET /v1/threats': {
    id: 'listThreats',
    summary: 'List threats',
    about:
      'The latest, oldest first, at most 500, or the first 500 after one: blocked, audited or unparsed code, denied ' +
      'access, anomalies and refused output. A tenant sees its own',
    gives: { type: 'array', items: ref('Threat') },
    parameters: [query('after', { type: 'integer', minimum: 0 }, 'seq of the last known threat')],
  },
  'GET /v1/threats/stream': {
    id: 'streamThreats',
    summary: 'Stream threats',
    about:
      'Server-sent events "threat", each with a Threat; with Last-Event-ID the stream continues after that one',
    type: 'text/event-stream',
    fails: [503],
  },
  'GET /metrics': {
    id: 'metrics',
    summary: 'Get metrics',
    about: 'Prometheus text format 0.0.4',
    type: 'text/plain',
  },
  'GET /openapi.json': {
    id: 'describe',
    summary: 'Get this OpenAPI document',
    about: 'OpenAPI 3.1; without a key on loopback',
    gives: { type: 'object' },
    problems: [401, 429],
  },
  'GET /docs': {
    id: 'readDocs',
    summary: 'Get this document as a page',
    about: 'One page, with an example for each call; without a key on loopback',
    answers: {
      200: { description: 'A page', content: { 'text/html': { schema: { type: 'string' } } } },
    },
  },
  'GET /livez': {
    id: 'isAlive',
    summary: 'Whether the server answers',
    gives: 'Live',
    isOpen: true,
  },
  'GET /healthz': { id: 'isHealthy', summary: 'The same as /livez', gives: 'Live', isOpen: true },
  'GET /readyz': {
    id: 'isReady',
    summary: 'Whether a wall is proved and jobs are admitted',
    gives: 'Ready',
    isOpen: true,
    fails: [503],
  },
  'GET /version': {
    id: 'version',
    summary: 'Name and version of the server',
    gives: 'Version',
    isOpen: true,
  },
}

export function ref(name: string): Json {
  return { $ref: `#/components/schemas/${name}` }
}

export function asJson(schema: Json): Json {
  return { 'application/json': { schema } }
}

function query(name: string, schema: Json, description?: string): Json {
  return { name, in: 'query', ...(description && { description }), schema }
}

function header(name: string, description: string): Json {
  return { name, in: 'header', description, schema: { type: 'string' } }
}

/** Response with the URL of the outcome in Location. */
function located(description: string, schema: string): Json {
  const headers = { Location: { schema: { type: 'string' } } }
  return { description, headers, content: asJson(ref(schema)) }
}
