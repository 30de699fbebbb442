import * as z from 'zod'
import type { PackageLayer } from './layer.ts'
import { parsePattern, patternText } from './network.ts'
import { publicKeyAsked, signatureAsked } from './signature.ts'
import { argsAsked, envAsked, stdinAsked } from './surroundings.ts'
import { duration, size } from './units.ts'
import { tierName } from './tier.ts'

export const languages = ['js', 'ts', 'node', 'python', 'wasm', 'sh', 'bash'] as const
export const entries = ['auto', 'body', 'function', 'module', 'program', 'main', 'handler'] as const

/** Capabilities that a job may ask for by itself: what they open is held by the wall it runs in. */
export const grantable = ['webassembly'] as const

/** Capabilities that a job may ask to call: each call is answered outside its wall. */
export const callable = [
  'ccos.network.http-fetch',
  'ccos.io.read-file',
  'ccos.io.write-file',
  'ccos.io.list-files',
  'math.add',
  'math.subtract',
  'math.multiply',
  'math.divide',
] as const

/** All that a job may ask for. */
export const askable = [...grantable, ...callable] as const

export const language = z.enum(languages)
export const entry = z.enum(entries)
export type Language = z.infer<typeof language>
export type Entry = z.infer<typeof entry>

/** Calls of one batch. */
export const callsMax = 1000

const NO_NUL = /^[^\0]*$/

const isPathPart = (part: string) =>
  part !== '' && part !== '.' && part !== '..' && part.length <= 255

/**
 * The source as a file: its path below the working folder and in messages; its suffix says what it is written in. What it
 * imports by a relative name lies beside it.
 */
export const sourceName = z
  .string()
  .min(1)
  .max(1024)
  .regex(/^[^\p{Cc}\\]*$/u, 'expected the name of a file')
  .refine(
    (name) => name.split('/').every(isPathPart),
    'expected the name of a file, plain or below folders',
  )

/** A file the job brings: a path below the working directory, never out of it. */
export const jobFile = z
  .strictObject({
    path: z
      .string()
      .min(1)
      .max(1024)
      .regex(NO_NUL, 'expected a path without NUL')
      .refine((path) => !path.startsWith('/') && !path.split('/').includes('..'), {
        message: 'expected a relative path that stays below the working directory',
      }),
    content: z
      .string()
      .default('')
      .describe('of a link its target, relative to the folder it is in'),
    encoding: z.enum(['utf8', 'base64']).default('utf8'),
    type: z
      .enum(['file', 'folder', 'link'])
      .exactOptional()
      .describe(
        'a file unless given; a folder may be empty, and a link stays below the working directory',
      ),
    executable: z.boolean().exactOptional(),
  })
  .refine(({ type, path, content }) => type !== 'link' || isLinkWithin(path, content), {
    message: 'expected a relative target that stays below the working directory',
    path: ['content'],
  })
  .readonly()

/** Lexically: what a link of the job's own in between leads to is below the working directory as well. */
function isLinkWithin(path: string, target: string): boolean {
  if (target === '' || target.length > 1024 || target.startsWith('/') || !NO_NUL.test(target))
    return false
  let depth = path.split('/').filter((part) => part !== '' && part !== '.').length - 1
  for (const part of target.split('/')) {
    if (part === '..') depth--
    else if (part !== '' && part !== '.') depth++
    if (depth < 0) return false
  }
  return true
}

export const limits = z
  .strictObject({
    timeout: duration.refine((ms) => ms >= 1, 'expected at least 1 ms').optional(),
    memory: size.optional(),
    cpu: z.number().positive().max(1024).optional(),
    processes: z.number().int().min(1).max(100_000).optional(),
    disk: size.optional(),
    output: size.optional(),
    artifacts: size.optional(),
  })
  .readonly()

export const hostPattern = z
  .string()
  .max(300)
  .refine((text) => parsePattern(text, 'https') !== undefined, `expected ${patternText}`)
const hostPatterns = z.array(hostPattern).max(1000)

/** As written by people; `config` and `profile` bring it into the canonical form of Controls. */
export const bytesAsked = {
  sent: size.exactOptional().describe('bytes that may leave in one run, heads and TLS included'),
  received: size.exactOptional().describe('the same for what comes back'),
} as const
export const networkAsked = z.union([
  z.enum(['none', 'open']),
  z.strictObject({ allow: hostPatterns, ...bytesAsked }),
  z.strictObject({ deny: hostPatterns, ...bytesAsked }),
])

/** Each is in every list of jobs. */
const LABELS_MAX = 64

/** Of a schema: before anything walks it, and each job is judged by it again. */
const schemaMax = { values: 20_000, characters: 262_144 } as const

/** Whether it is within those bounds; looks at no more than they allow. */
function isSmallObject(given: Readonly<Record<string, unknown>>): boolean {
  const todo: unknown[] = [given]
  let [values, characters] = [1, 0]
  for (let value = todo.pop(); value !== undefined || todo.length > 0; value = todo.pop()) {
    if (typeof value === 'string') characters += value.length
    if (typeof value === 'object' && value !== null)
      for (const key in value) {
        characters += Array.isArray(value) ? 0 : key.length
        if (++values > schemaMax.values) return false
        todo.push((value as Record<string, unknown>)[key])
      }
    if (characters > schemaMax.characters) return false
  }
  return true
}

/** The body of `POST /v1/executions`, the argument of `mayfly.run`, what the command line builds. */
export const jobRequest = z
  .strictObject({
    code: z
      .string()
      .max(32 * 2 ** 20)
      .optional(),
    effectId: z.string().min(1).max(200).optional(),
    signature: signatureAsked.optional(),
    publicKey: publicKeyAsked.optional(),
    name: sourceName
      .optional()
      .describe(
        'what the source is called, such as `report.ts`: in messages, and where it is a file',
      ),
    language: language.optional(),
    entry: entry.default('auto'),
    input: z.unknown().optional(),
    calls: z
      .array(z.strictObject({ input: z.unknown().optional() }).readonly())
      .min(1)
      .max(callsMax)
      .readonly()
      .optional()
      .describe('a batch: the code is called with each input in turn, in one sandbox'),
    files: z.array(jobFile).max(2000).default([]),
    args: argsAsked.default([]),
    env: envAsked.default({}),
    stdin: stdinAsked.optional(),
    tier: tierName.optional(),
    floor: tierName.optional(),
    shadow: tierName
      .optional()
      .describe('a tier on which it runs a second time, for comparison alone'),
    provider: z.string().min(1).max(64).optional(),
    schedule: z.string().min(1).max(64).optional(),
    limits: limits.default({}),
    network: networkAsked.optional(),
    capabilities: z
      .array(z.enum(askable))
      .max(askable.length)
      .default([])
      .describe(
        'what it may do beyond its language: WebAssembly inside JavaScript, and capabilities that it may call',
      ),
    output: z
      .strictObject({
        schema: z
          .record(z.string(), z.unknown())
          .refine(isSmallObject, {
            error: `expected ${schemaMax.values} values and ${schemaMax.characters} characters at most`,
          })
          .optional(),
        gate: z.enum(['stream', 'whole']).default('stream'),
      })
      .readonly()
      .default({ gate: 'stream' }),
    artifacts: z.enum(['inline', 'reference']).default('reference'),
    capture: z
      .boolean()
      .default(false)
      .describe('keep what it holds in memory at its end, where its wall can be looked into'),
    trace: z
      .boolean()
      .default(false)
      .describe('tell which functions of its source ran, in which zone, and how often: js and ts'),
    idempotent: z
      .boolean()
      .default(false)
      .describe('running it again does no harm and gives the same; its outcome may be given again'),
    labels: z
      .record(z.string().max(100), z.string().max(1000))
      .refine((given) => Object.keys(given).length <= LABELS_MAX, `expected ${LABELS_MAX} at most`)
      .default({}),
  })
  .readonly()

export type JobRequest = z.input<typeof jobRequest>
export type JobAsked = z.output<typeof jobRequest>
export type JobFile = z.output<typeof jobFile>
export type Limits = z.output<typeof limits>

/** Where a job came in. */
export const origins = [
  'library',
  'cli',
  'http',
  'page',
  'websocket',
  'event',
  'capability',
  'queue',
] as const
export type Origin = (typeof origins)[number]

/** What someone asks to run, with who asks; made at a door, never changed on the road. */
export interface Job {
  readonly id: string
  readonly tenant: string
  readonly principal: string
  readonly origin: Origin
  /** The capability that it is a call of: its limits and Controls are those configured for that name. */
  readonly capability?: string
  /** When the door took it, on the Clock. */
  readonly at: number
  readonly asked: JobAsked & { readonly code: string }
  /** Layers of packages, which only whoever is trusted with folders of this machine can have made. */
  readonly packages?: readonly PackageLayer[]
  /**
   * The input as JSON text, so that it crosses walls as bytes: `null` when none was given; of a batch a list with the
   * input of each call.
   */
  readonly inputText: string
  /** The W3C trace context this job is part of, well-formed, where whoever asks brought one. */
  readonly traceparent?: string
}
