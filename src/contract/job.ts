import * as z from 'zod'
import { imageReferencePattern } from './image-reference.ts'
import { languageAmong } from './language.ts'
import { languageWords } from './language-words.ts'
import type { PackageLayer } from './layer.ts'
import { unknownMethodIn } from './http-method.ts'
import { parsePattern, patternText } from './network.ts'
import { publicKeyAsked, signatureAsked } from './signature.ts'
import { argsAsked, envAsked, stdinAsked } from './surroundings.ts'
import { cores, diskSize, duration, memorySize, size } from './units.ts'
import { tierName } from './tier.ts'
import { filled, flag, inUsualBase64, whole } from './schema-parts.ts'

export const languages = languageWords
export const entries = ['auto', 'body', 'function', 'module', 'program', 'main', 'handler'] as const

/** Capabilities a job may request directly; its own wall enforces them. */
export const grantable = ['webassembly'] as const

/** Capabilities a job may request to call: each call is answered outside its wall. */
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

/** Capability to call functions of the job's caller: the application or the entry point that started it. */
export const hostCall = 'host.call'

/** Capabilities that `mayfly run --capability` accepts. */
export const askable = [...grantable, ...callable] as const

/** A language as callers write it: also by its usual names, in any case. The canonical word comes out. */
export const language = languageAmong(languages)
export const entry = z.enum(entries)
export type Language = z.infer<typeof language>
export type Entry = z.infer<typeof entry>

/** Maximum calls of one batch. */
export const callsMax = 1000

const NO_NUL = /^[^\0]*$/

const isPathPart = (part: string) =>
  part !== '' && part !== '.' && part !== '..' && part.length <= 255

/**
 * The source as a file: its path below the working folder and in messages; the suffix gives its
 * language. Relative imports resolve beside it.
 */
export const sourceName = filled(1024)
  .regex(/^[^\p{Cc}\\]*$/u, 'expected the name of a file')
  .refine(
    (name) => name.split('/').every(isPathPart),
    'expected the name of a file, plain or below folders',
  )

/** A file of the job: a path that cannot leave the working directory. */
export const jobFile = z
  .strictObject({
    path: filled(1024)
      .regex(NO_NUL, 'expected a path without NUL')
      .refine((path) => !path.startsWith('/') && !path.split('/').includes('..'), {
        message: 'expected a relative path that stays below the working directory',
      }),
    content: z
      .string('expected text; bytes go as base64 with "encoding": "base64"')
      .default('')
      .describe('content of the file; for a link its target, relative to the folder of the link'),
    encoding: z.enum(['utf8', 'base64']).default('utf8'),
    type: z
      .enum(['file', 'folder', 'link'])
      .exactOptional()
      .describe(
        'default: a file. A folder may be empty; a link must stay below the working directory',
      ),
    executable: z.boolean().exactOptional(),
  })
  .refine(({ type, path, content }) => type !== 'link' || isLinkWithin(path, content), {
    message: 'expected a relative target that stays below the working directory',
    path: ['content'],
  })
  .check(inUsualBase64(['content']))
  .readonly()

/**
 * Refuses a file at the place of a folder that another path of the job needs. Sorted, with a slash at the end of each, all
 * paths below one follow it at once.
 */
function withoutFileAsFolder({ value, issues }: z.core.ParsePayload<z.output<typeof jobFile>[]>) {
  const sorted = value
    .map(({ path, type = 'file' }, at) => ({ at, path, type, key: `${usualPath(path)}/` }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
  let after: (typeof sorted)[number] | undefined
  for (const [index, one] of [...sorted.entries()].toReversed()) {
    const next = sorted[index + 1]
    if (next?.key !== one.key) after = next
    if (one.type !== 'file' || !after?.key.startsWith(one.key)) continue
    const message = `expected no file at "${one.path}", which is a folder of "${after.path}"`
    issues.push({ code: 'custom', message, input: value, path: [one.at, 'path'] })
  }
}

/** Empty parts and `.`, which name no folder. */
const IDLE_PART = /(?:^|\/)\.?(?:\/|$)/
const usualPath = (path: string) => (IDLE_PART.test(path) ? partsOf(path).join('/') : path)
const partsOf = (path: string) => path.split('/').filter((part) => part !== '' && part !== '.')

/** Lexical check; links of the job along the path stay below the working directory as well. */
function isLinkWithin(path: string, target: string): boolean {
  if (target === '' || target.length > 1024 || target.startsWith('/') || !NO_NUL.test(target))
    return false
  let depth = partsOf(path).length - 1
  for (const part of target.split('/')) {
    if (part === '..') depth--
    else if (part !== '' && part !== '.') depth++
    if (depth < 0) return false
  }
  return true
}

/** Instructions of a WebAssembly module: whole numbers that JavaScript holds exactly. */
export const instructions = whole(1, Number.MAX_SAFE_INTEGER)

export const limits = z
  .strictObject({
    timeout: duration.refine((ms) => ms >= 1, 'expected at least 1 ms').optional(),
    memory: memorySize.optional(),
    cpu: cores.optional(),
    cpuTime: duration
      .refine((ms) => ms >= 1, 'expected at least 1 ms')
      .optional()
      .describe('processor time of all its processes together'),
    processes: whole(1, 100_000).optional(),
    disk: diskSize.optional(),
    output: size.optional(),
    artifacts: size.optional(),
    instructions: instructions.optional(),
  })
  .readonly()

export const hostPattern = z
  .string()
  .max(300)
  .refine((text) => parsePattern(text, 'https') !== undefined, {
    error: ({ input }) => unknownMethodIn(input) ?? `expected ${patternText}`,
  })
const hostPatterns = z.array(hostPattern).max(1000)

/** Byte budgets in user notation; `config` and `profile` normalise them into Controls. */
export const bytesAsked = {
  sent: size.exactOptional().describe('bytes that may leave in one run, headers and TLS included'),
  received: size
    .exactOptional()
    .describe('bytes that may arrive in one run, headers and TLS included'),
} as const
export const networkAsked = z.union([
  z.enum(['none', 'open']),
  z.strictObject({ allow: hostPatterns, ...bytesAsked }),
  z.strictObject({ deny: hostPatterns, ...bytesAsked }),
])

/** Bounded because every list of jobs repeats them. */
const LABELS_MAX = 64

/** Checked before each member is read: a record drops that name in silence, and has an issue for each of many members. */
function labelsFault(given: unknown) {
  if (typeof given !== 'object' || given === null) return undefined
  if (Object.hasOwn(given, '__proto__'))
    return { path: ['__proto__'], message: 'expected another name' }
  const isTooMany = Object.keys(given).length > LABELS_MAX
  return isTooMany ? { path: [], message: `expected ${LABELS_MAX} at most` } : undefined
}

const labels = z.preprocess(
  (given: Record<string, string>, context) => {
    const fault = labelsFault(given)
    if (fault) context.addIssue({ code: 'custom', ...fault })
    return given
  },
  z.record(z.string().max(100), z.string().max(1000)),
)

/** Bounds of a schema, checked before anything walks it; each job is validated against it again. */
const schemaMax = { values: 20_000, characters: 262_144 } as const

/** True if within those bounds; visits no more than they allow. */
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

/** Longest code of a job; a WebAssembly module counts as its base64. */
export const codeCharactersMax = 32 * 2 ** 20

/** The body of `POST /v1/executions`, the argument of `mayfly.run`, what the command line builds. */
export const jobRequest = z
  .strictObject({
    code: z.string().max(codeCharactersMax).optional(),
    effectId: filled(200).optional(),
    signature: signatureAsked.optional(),
    publicKey: publicKeyAsked.optional(),
    name: sourceName
      .optional()
      .describe('file name of the source, such as `report.ts`, in messages and on disk'),
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
    files: z.array(jobFile).max(2000).check(withoutFileAsFolder).default([]),
    args: argsAsked.default([]),
    env: envAsked.default({}),
    stdin: stdinAsked.optional(),
    tier: tierName.optional(),
    floor: tierName.optional(),
    shadow: tierName.optional().describe('tier of a second run, whose outcome is only compared'),
    provider: filled(64).optional(),
    schedule: filled(64).optional(),
    image: z
      .string()
      .regex(imageReferencePattern, 'expected a tag, or sha256: with 64 digits')
      .optional()
      .describe('image whose files are the root of the program, by tag or digest'),
    limits: limits.default({}),
    network: networkAsked.optional(),
    capabilities: z
      .array(z.enum([...askable, hostCall]))
      .max(askable.length + 1)
      .default([])
      .describe(
        'grants beyond the language: WebAssembly inside JavaScript, and names of capabilities that it may call',
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
    capture: flag.describe('store a capture of its memory at its end, if the wall supports that'),
    trace: flag.describe(
      'report which functions of the source ran, in which zone, and how often: js and ts',
    ),
    idempotent: flag.describe(
      'the job is idempotent: it may be retried, and its outcome served from the cache',
    ),
    // In place of `default`, which the JSON schema of a value that a function reads first would lack.
    labels: labels.prefault({}),
  })
  .readonly()

export type JobRequest = z.input<typeof jobRequest>
export type JobAsked = z.output<typeof jobRequest>
export type JobFile = z.output<typeof jobFile>
export type Limits = z.output<typeof limits>

/** Entry point of a job. */
export const origins = [
  'library',
  'cli',
  'http',
  'page',
  'websocket',
  'event',
  'capability',
  'queue',
  'mcp',
] as const
export type Origin = (typeof origins)[number]

/** `open`: opens a session, or makes it by a fork of that one; `exec`: a cell or a command in the session whose execution id is `of`. */
export type SessionJob =
  | { readonly kind: 'open'; readonly forkOf?: string }
  | { readonly kind: 'exec'; readonly of: string; readonly command?: string | readonly string[] }

/** Account of a job at its entry point, for work of this process that no wall measures, such as an analysis. */
export interface JobAccount {
  /** Name of the sender within its tenant, who waits in a queue of its own: the address of a page's visitor. */
  readonly sender?: string | undefined
  /** Charges processor time, in milliseconds. */
  charge(cpuMs: number): void
}

/**
 * A request to run code, with its principal; created at an entry point, immutable in the pipeline.
 */
export interface Job {
  readonly id: string
  readonly tenant: string
  readonly principal: string
  readonly origin: Origin
  /**
   * Name of the capability of which this job is a call; its configured limits and Controls apply.
   */
  readonly capability?: string
  /** Analyses zones also if the schedule has none. Runs with the same `instance`, the owner's name, share a history. */
  readonly zones?: { readonly instance?: string }
  /** Set if the job opens a session or is one exec of it. */
  readonly session?: SessionJob
  /** Time of acceptance, on the Clock. */
  readonly at: number
  readonly asked: JobAsked & { readonly code: string }
  /** Package layers; only callers trusted with host folders can create them. */
  readonly packages?: readonly PackageLayer[]
  /** Absent where nobody is charged, as in a library. */
  readonly account?: JobAccount | undefined
  /**
   * Input as JSON text, so that it crosses walls as bytes: `null` if absent; for a batch, a list
   * with the input of each call.
   */
  readonly inputText: string
  /** Well-formed W3C trace context from the caller, if any. */
  readonly traceparent?: string
}
