import * as z from 'zod'

/** Frames between the server and a worker; the workers' half of this table is guest/wire.js. */
export const kind = {
  run: 1,
  reply: 2,
  knock: 3,
  released: 10,
  stdout: 11,
  stderr: 12,
  call: 13,
  end: 14,
  idle: 15,
  knocked: 16,
  answered: 18,
} as const

/** The longest text of an error that is kept: name, message and stack together are cut in the worker already. */
const ERROR_CHARS_MAX = 64 * 1024
/** What an end may weigh beside its result. */
export const endMetaBytesMax = 256 * 1024

const text = z.string().max(ERROR_CHARS_MAX)
/** Flat facts about an error: a position, a name. */
const details = z.record(z.string().max(40), z.union([z.string().max(1024), z.number()]))

/** Functions that are told of a source that is traced; the workers' half is guest/cell/trace.js. */
export const tracedMax = 1000
const place = z.number().int().min(0)
/** Where a function begins and ends, and how often it was called. */
const ran = z.array(z.tuple([place, place, place]).readonly())

/** The first line of an `end` frame; the result's text follows it. A worker that was broken into may write anything. */
export const endSchema = z.object({
  protocol: z.literal(1),
  status: z.enum(['ok', 'error', 'timeout', 'limit', 'failed']),
  encoding: z.enum(['json', 'tagged']),
  error: z
    .object({
      code: text,
      name: text.optional(),
      message: text,
      stack: text.optional(),
      details: details.optional(),
    })
    .optional(),
  cpuTimeMs: z.number().min(0),
  executionMs: z.number().min(0),
  memory: z.object({ used: z.number().min(0), peak: z.number().min(0) }).optional(),
  poisoned: z.boolean(),
  /** Timers and calls that its end dropped. */
  pending: z.strictObject({ timers: place, promises: place }).optional(),
  ran: ran.max(tracedMax).readonly().optional(),
})

/** The first line of an `answered` frame: how one call of a batch ended. Its result's text follows. */
export const answeredSchema = endSchema
  .pick({ protocol: true, encoding: true, error: true, executionMs: true })
  .extend({ status: z.enum(['ok', 'error']) })

export const callSchema = z.strictObject({
  id: z.number().int().min(1),
  name: z.string().max(200),
})

/** Of the arguments of one call, which stand as they are behind its head: each reading of a long text holds everybody up. */
export const argsBytesMax = 4 * 2 ** 20

/** What a worker got when it tried each forbidden system call. */
export const knockedSchema = z.record(z.string().max(40), z.string().max(40))
