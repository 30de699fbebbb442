import * as z from 'zod'
import { parseJson } from '../../lib/parse-json.ts'

/** What a program's wall says on its control socket; the runners' half of this table is guest/process/. */
export const kind = {
  run: 1,
  ahead: 2,
  knock: 3,
  released: 10,
  end: 14,
  knocked: 16,
  artifact: 17,
  answered: 18,
  display: 19,
} as const

const ERROR_CHARS_MAX = 64 * 1024
/** What an end, or an artifact, may weigh beside its bytes. */
const headBytesMax = 256 * 1024
const PATH_CHARS_MAX = 1024
const LEFT_OUT_MAX = 1000

const text = z.string().max(ERROR_CHARS_MAX)
const path = z.string().max(PATH_CHARS_MAX)

/** The first line of an `end`; the result's text follows. The program shares a process with whoever writes it. */
export const endSchema = z.object({
  protocol: z.literal(1),
  status: z.enum(['ok', 'error', 'limit']),
  encoding: z.enum(['json', 'tagged', 'text']),
  error: z
    .object({
      code: text,
      name: text.optional(),
      message: text,
      stack: text.optional(),
      // Hints, limits and providers are words of the host: a guest tells of a place, and of nothing else.
      details: z
        .object({
          file: z.string().max(1024).optional(),
          line: z.number().optional(),
          column: z.number().optional(),
        })
        .optional(),
    })
    .optional(),
  exitCode: z.number().int().min(0).max(255).optional(),
  signal: z.string().max(20).optional(),
  cpuTimeMs: z.number().min(0),
  executionMs: z.number().min(0),
  artifactsLeftOut: z
    .array(z.object({ path, because: z.string().max(200) }))
    .max(LEFT_OUT_MAX)
    .optional(),
})

/** What a `released` says: milliseconds of CLOCK_MONOTONIC, before anything of the job's runs. */
export const releasedSchema = z
  .string()
  .regex(/^\d{1,15}(\.\d{1,9})?$/)
  .transform(Number)

/** The first line of an `answered`: how one call of a batch ended. Its result's text follows. */
export const answeredSchema = endSchema
  .pick({ protocol: true, encoding: true, error: true, executionMs: true })
  .extend({ status: z.enum(['ok', 'error']) })

/** The first line of a `display`: an artifact's path, or the text that follows. */
export const displaySchema = z.object({ type: z.string().max(128), path: path.optional() })

export const artifactSchema = z.object({ path, size: z.number().int().min(0) })

/** Splits a frame into the value of its first line and what follows; undefined when it is not of this form. */
export function headed<T>(
  schema: z.ZodType<T>,
  payload: Buffer,
): { readonly head: T; readonly rest: Buffer } | undefined {
  const cut = payload.indexOf(10)
  if (cut <= 0 || cut > headBytesMax) return undefined
  const read = schema.safeParse(parsed(payload.subarray(0, cut)))
  return read.success ? { head: read.data, rest: payload.subarray(cut + 1) } : undefined
}

function parsed(bytes: Buffer): unknown {
  try {
    return parseJson(bytes.toString())
  } catch {
    return undefined
  }
}
