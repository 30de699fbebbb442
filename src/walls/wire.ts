import * as z from 'zod'
import { sessionEntryTypes } from '../contract/exec.ts'
import { refusedModules, refusedNames } from '../contract/refused-names.ts'
import { present } from '../lib/present.ts'
import { tryParseJson } from '../lib/parse-json.ts'

/** Longest payloads that guests read: an isolate by `guest/wire.js`, a program by `guest/process/wire.js`, with a file's head. */
export const workerBytesMax = 64 * 2 ** 20 - 1
export const programBytesMax = 95 * 2 ** 20

/**
 * Frames between the server and every wall, one table. A payload with a head is a line of JSON, then raw bytes: a result
 * is not escaped and parsed twice. All of it is read as hostile input: user code shares a process with the writer.
 * The guests' halves are guest/kinds.js, guest/wire.js (workers) and guest/process/ (whole programs).
 */
export const kind = {
  /** To the guest: the task. */
  run: 1,
  /** To a worker: the answer of a call. */
  reply: 2,
  /** To the guest: try every forbidden system call (a probe). */
  probe: 3,
  /** To a program: a piece of a large file, before `run`. */
  ahead: 4,
  /** To a session: the next exec. */
  exec: 5,
  /** To a session: interrupt the exec of this id. */
  interrupt: 6,
  /** To a session: put, get or list files. */
  file: 7,
  /** To a session: open a terminal, or resize, signal or close the one of this id. */
  terminal: 8,
  /** To a session: bytes for a terminal. */
  terminalInput: 9,
  /** User code is about to run. */
  released: 10,
  stdout: 11,
  stderr: 12,
  call: 13,
  end: 14,
  /** A worker dropped its guest and can take another. */
  idle: 15,
  probed: 16,
  artifact: 17,
  /** End of a call of a batch. */
  answered: 18,
  display: 19,
  /** End of an exec of a session. */
  execEnd: 20,
  /** Answer to `file`. */
  filed: 21,
  /** Bytes of a terminal. */
  terminalOutput: 22,
  /** A terminal is open, has taken input, or has ended. */
  terminalNote: 23,
  /** User code looked up a name that its realm refuses. */
  refused: 24,
  /** To a session: its machine was forked, and this one is the copy. Answered with `released`. */
  forked: 25,
} as const

/** Name, message and stack of an error together; the guest cuts them as well. */
const ERROR_CHARS_MAX = 64 * 1024
/** Head of a frame. */
export const frameHeadBytesMax = 256 * 1024
const PATH_CHARS_MAX = 1024
const LEFT_OUT_MAX = 1000
/** Limit of the arguments of one call: parsing a long text blocks the event loop for all other walls. */
export const callArgsBytesMax = 4 * 2 ** 20
/** Functions reported of a traced source; the workers' half is guest/cell/trace.js. */
export const tracedMax = 1000

const text = z.string().max(ERROR_CHARS_MAX)
const path = z.string().max(PATH_CHARS_MAX)
const count = z.number().int().min(0)

const errorOf = <Code extends z.ZodType, Details extends z.ZodType>(code: Code, details: Details) =>
  z.object({
    code,
    name: text.optional(),
    message: text,
    stack: text.optional(),
    details: details.optional(),
  })

/** Flat facts about an error: a position, a name. */
const workerDetails = z.record(z.string().max(40), z.union([z.string().max(1024), z.number()]))
/** Position in the source only: hints, limits and providers are set by the host alone. */
const programDetails = z.object({
  file: z.string().max(1024).optional(),
  line: z.number().optional(),
  column: z.number().optional(),
})

const endBase = z.object({
  protocol: z.literal(1),
  cpuTimeMs: z.number().min(0),
  executionMs: z.number().min(0),
})

/**
 * Codes that runners of programs may report. All others are reserved for the host, such as a lost wall or a limit that
 * the warden enforced.
 */
const programErrorCode = z.enum([
  'DISK',
  'EXIT',
  'FAILED',
  'INTERRUPTED',
  'RESULT_CIRCULAR',
  'RESULT_NOT_JSON',
  'RESULT_NOT_SERIALISABLE',
  'RESULT_NOT_AWAITED',
  'RESULT_TOO_DEEP',
  'RESULT_TOO_LARGE',
  'SYNTAX_ERROR',
  'USER_ERROR',
])

/** Codes of workers beside those of programs. `CELL_LOST` and `OUTPUT_LOST` are failures of the worker itself. */
const workerErrorCodes = [
  ...programErrorCode.options,
  'CELL_LOST',
  'ENTRY_UNSUPPORTED',
  'IMPORT_REFUSED',
  'INSTRUCTIONS',
  'MEMORY',
  'MODULE_NOT_FOUND',
  'OUTPUT',
  'OUTPUT_LOST',
  'RESULT_NOT_DATA',
  'TIMEOUT',
  'WASM_EXPORT_MISSING',
  'WASM_IMPORT_MISSING',
  'WASM_INPUT',
  'WASM_INVALID',
  'WASM_LINK',
  'WASM_TRAP',
  'WASM_UNSUPPORTED',
] as const
/** Any other text is chosen by the guest, and is mapped to `OTHER`. */
const workerErrorCode = text.pipe(z.enum(workerErrorCodes).or(z.literal('OTHER')).catch('OTHER'))

/** Head of a worker's `end`; the result's text follows. */
export const workerEndSchema = endBase.extend({
  status: z.enum(['ok', 'error', 'timeout', 'limit', 'failed']),
  encoding: z.enum(['json', 'tagged']),
  error: errorOf(workerErrorCode, workerDetails).optional(),
  memory: z.object({ used: z.number().min(0), peak: z.number().min(0) }).optional(),
  poisoned: z.boolean(),
  /** Exit code of a module's program. */
  exitCode: z.number().int().min(0).max(255).optional(),
  /** Instructions of a module that were counted. */
  instructions: count.optional(),
  /** Timers and calls that its end dropped. */
  pending: z.strictObject({ timers: count, promises: count }).optional(),
  /** Begin and end of a function in the source, and its number of calls. */
  ran: z
    .array(z.tuple([count, count, count]).readonly())
    .max(tracedMax)
    .readonly()
    .optional(),
})

/** Head of a program's `end`. */
export const programEndSchema = endBase.extend({
  status: z.enum(['ok', 'error', 'limit']),
  encoding: z.enum(['json', 'tagged', 'text']),
  error: errorOf(programErrorCode, programDetails).optional(),
  exitCode: z.number().int().min(0).max(255).optional(),
  signal: z.string().max(20).optional(),
  /** Memory of its process above that at the release, and the largest of a child. */
  peakBytes: count.optional(),
  childPeakBytes: count.optional(),
  /** True if the program is about to print its error and exit. */
  exits: z.boolean().optional(),
  /** True if the text is not all of the result. */
  partial: z.literal(true).optional(),
  artifactsLeftOut: z
    .array(z.object({ path, because: z.string().max(200) }))
    .max(LEFT_OUT_MAX)
    .optional(),
})

/** Fields of a program's end, or of an exec's, as an outcome has them. */
export function reportedBy({
  encoding,
  artifactsLeftOut,
  partial,
  error,
  exitCode,
  signal,
}: z.infer<typeof programEndSchema> | z.infer<typeof execEndSchema>) {
  return {
    encoding,
    ...(artifactsLeftOut && { leftOut: artifactsLeftOut }),
    ...(error && { error: present(error) }),
    ...(partial && { isPartial: true }),
    ...present({ exitCode, signal }),
  }
}

/** Codes that only the host may set. A cell of an isolate has more codes than a program. */
const hostCodes = new Set([
  'CANCELLED',
  'CPU',
  'HOST_MEMORY',
  'MEMORY',
  'OUTPUT',
  'PROCESSES',
  'PROTOCOL',
  'SESSION_ENDED',
  'TERMINATED',
  'TIMEOUT',
  'WALL_LOST',
])
const cellErrorCode = text.refine((code) => !hostCodes.has(code)).pipe(workerErrorCode)

/** Head of an `execEnd`; the result's text follows. */
export const execEndSchema = programEndSchema.omit({ exits: true }).extend({
  id: z.string().max(64),
  status: z.enum(['ok', 'error']),
  error: errorOf(cellErrorCode, programDetails).optional(),
  state: z.enum(['kept', 'lost']),
  /** Set by an isolate that stopped an exec because it printed far beyond its limit. */
  flooded: z.literal(true).optional(),
  /** True if output follows between two execs, or may: of timers or calls of the guest that are pending. */
  pending: z.boolean().optional(),
})

export const fileErrors = ['NOT_FOUND', 'INVALID', 'TOO_LARGE', 'DISK'] as const
const ENTRIES_MAX = 1000
/** A caller may join a listed path to a folder of its own. */
const listedPath = path.refine((one) => !/^\/|\0|(?:^|\/)\.\.(?:\/|$)/.test(one))
/** Range of Date. */
const DATE_MS_MAX = 8_640_000_000_000_000

/** Head of a `filed`; the bytes of a `get` follow. */
export const filedSchema = z.object({
  protocol: z.literal(1),
  id: z.string().max(64),
  error: z.object({ code: z.enum(fileErrors), message: z.string().max(1024) }).optional(),
  entries: z
    .array(
      z.object({
        path: listedPath,
        type: z.enum(sessionEntryTypes),
        size: count,
        modifiedMs: z.number().int().min(-DATE_MS_MAX).max(DATE_MS_MAX),
      }),
    )
    .max(ENTRIES_MAX)
    .optional(),
  truncated: z.boolean().optional(),
})

const terminalId = z.string().max(64)

/** Head of a `terminalOutput`; the bytes follow. */
export const terminalOutputSchema = z.object({ id: terminalId })

/** Payload of a `terminalNote`. */
export const terminalNoteSchema = z.object({
  protocol: z.literal(1),
  id: terminalId,
  opened: z.literal(true).optional(),
  error: z.object({ message: z.string().max(1024) }).optional(),
  taken: z.number().int().min(1).optional(),
  ended: z
    .union([
      z.strictObject({ exitCode: z.number().int().min(0).max(255) }),
      z.strictObject({ signal: z.string().max(20) }),
    ])
    .optional(),
})

const answeredParts = { protocol: true, encoding: true, error: true, executionMs: true } as const
const answeredStatus = { status: z.enum(['ok', 'error']) }
/** Head of an `answered`: how one call of a batch ended; its result's text follows. */
export const workerAnsweredSchema = workerEndSchema.pick(answeredParts).extend(answeredStatus)
export const programAnsweredSchema = programEndSchema.pick(answeredParts).extend(answeredStatus)

export type AnsweredHead =
  | z.infer<typeof workerAnsweredSchema>
  | z.infer<typeof programAnsweredSchema>

export const refusedSchema = z.strictObject({
  name: z.enum(refusedNames),
  /** Any other text is dropped: the Node of a guest may have modules that this one lacks. */
  module: text
    .transform((module) => (refusedModules.includes(module) ? module : undefined))
    .optional(),
})
/** Frames of that schema that a job may send: an honest worker reports each name, and each module, once. */
export const refusedMax = 64

export const callSchema = z.strictObject({
  id: z.number().int().min(1),
  name: z.string().max(200),
})

/** Payload of a program's `released`: milliseconds of CLOCK_MONOTONIC, before any instruction of the job. */
export const releasedSchema = z
  .string()
  .regex(/^\d{1,15}(\.\d{1,9})?$/)
  .transform(Number)

/** Head of a `display`: an artifact's path, or the text that follows. */
export const displaySchema = z.object({ type: z.string().max(128), path: path.optional() })

export const artifactSchema = z.object({ path, size: count })

/** Errno that a guest got for each forbidden system call. */
export const probedSchema = z.record(z.string().max(40), z.string().max(40))

/** Splits a frame into its head and the bytes behind it; undefined where it has no such head. */
export function headed<T>(
  schema: z.ZodType<T>,
  payload: Buffer,
): { readonly head: T; readonly rest: Buffer } | undefined {
  const cut = payload.indexOf(10)
  if (cut <= 0 || cut > frameHeadBytesMax) return undefined
  const read = schema.safeParse(tryParseJson(payload.subarray(0, cut).toString()))
  return read.success ? { head: read.data, rest: payload.subarray(cut + 1) } : undefined
}
