import * as z from 'zod'
import { jobRequest } from '../contract/job.ts'
import { outcomeSchema } from '../contract/outcome.ts'
import { problemSchema } from './problem.ts'
import { activeContent, liveBody, providerRow, readyBody, versionBody } from './schema.ts'

type Json = Readonly<Record<string, unknown>>

const schemas = {
  Job: [jobRequest, 'input'],
  ActiveContent: [activeContent, 'input'],
  Outcome: [outcomeSchema, 'output'],
  Provider: [providerRow, 'output'],
  Problem: [problemSchema, 'output'],
  Version: [versionBody, 'output'],
  Live: [liveBody, 'output'],
  Ready: [readyBody, 'output'],
} as const satisfies Record<string, readonly [z.ZodType, 'input' | 'output']>

const key = [{ key: [] }]
const keyOrToken = [{ key: [] }, {}]
const jobProblems = [400, 401, 403, 408, 413, 415, 422, 429, 503]

/** The API of the active endpoint as OpenAPI 3.1, made from the same schemas that validate it. */
export function openApi(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Mayfly',
      version,
      description:
        'Runs code that nobody trusts. A job that reached a wall answers 200 with its outcome, whatever its status; ' +
        'a blocked one is 403 and one that nobody can run 503, both with the outcome. Durations are milliseconds or ' +
        'text such as "5s", sizes bytes or text such as "64MB".',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: key,
    paths: {
      '/v1/executions': {
        post: call(
          'execute',
          'Run one job',
          'A job in, an outcome out',
          body('Job'),
          'Outcome',
          jobProblems,
        ),
      },
      '/active-content': {
        post: {
          ...call(
            'executeActiveContent',
            'Run one piece of active content',
            'By the session token of a page of the static endpoint, or by an API key',
            body('ActiveContent'),
            'Outcome',
            jobProblems,
          ),
          security: keyOrToken,
        },
      },
      '/v1/providers': {
        get: call(
          'listProviders',
          'The walls of this machine',
          'What each is made of, and why one is not available',
          {},
          { type: 'array', items: ref('Provider') },
          [401, 403, 429],
        ),
      },
      '/openapi.json': {
        get: call(
          'describe',
          'This description',
          'OpenAPI 3.1',
          {},
          { type: 'object' },
          [401, 429],
        ),
      },
      '/livez': { get: open('isAlive', 'Whether the server answers', 'Live', []) },
      '/readyz': {
        get: open('isReady', 'Whether a wall is proven and jobs are taken', 'Ready', [503]),
      },
      '/version': { get: open('version', 'What this is', 'Version', []) },
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

function open(
  operationId: string,
  summary: string,
  answer: string,
  problems: readonly number[],
): Json {
  return { ...call(operationId, summary, 'Needs no key', {}, answer, problems), security: [] }
}

function body(name: string): Json {
  return { requestBody: { required: true, content: { 'application/json': { schema: ref(name) } } } }
}

const meanings: Readonly<Record<number, string>> = {
  400: 'The body is not JSON in UTF-8, has a key twice, or nests deeper than 64',
  401: 'No key or token, or none that holds',
  403: 'The scope is missing, or the job was blocked: then with its outcome',
  408: 'The body came too slowly',
  413: 'The body is too large',
  415: 'The body is not application/json',
  422: 'The body is not what this call takes; details name the paths',
  429: 'Too many requests; Retry-After says when',
  503: 'Nobody can run it here or now; where it was a job, with its outcome',
}

function problem(status: number): Json {
  const schema = ref('Problem')
  const headers =
    status === 429 || status === 503
      ? { headers: { 'Retry-After': { schema: { type: 'integer' } } } }
      : {}
  return {
    description: meanings[status],
    ...headers,
    content: { 'application/problem+json': { schema } },
  }
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
