import * as z from 'zod'
import { plainWords } from './checked.ts'
import { encoding, leftOut, networkAttempt } from './outcome.ts'
import { limitCodes, type KillCause, type TaskEnd } from './provider.ts'
import { outcomeError, type OutcomeError } from './outcome-error.ts'

const statuses = [
  'ok',
  'error',
  'timeout',
  'limit',
  'failed',
  'cancelled',
  'terminated',
  'unavailable',
] as const satisfies readonly TaskEnd['status'][]

const endShape = z.object({
  status: z.enum(statuses),
  resultText: z.string(),
  encoding,
  error: outcomeError.optional(),
  exitCode: z.int().optional(),
  signal: z.string().optional(),
  cpuTime: z.number(),
  memory: z
    .object({ used: z.number(), peak: z.number(), absolute: z.number().optional() })
    .optional(),
  artifacts: z.array(z.object({ path: z.string(), bytes: z.instanceof(Uint8Array) })),
  leftOut: z.array(leftOut).optional(),
  display: z.array(z.object({ type: z.string() })).optional(),
  network: z.array(networkAttempt).optional(),
})

/** Returns the end of a wall, or the end of a lost one if it has the wrong shape: providers may be third-party code. */
export function checkedEnd(end: TaskEnd): TaskEnd {
  const { error } = endShape.safeParse(end)
  if (!error) return end
  const [{ path, message }] = error.issues as [z.core.$ZodIssue]
  return lost(`The wall answered wrongly: ${[...path, plainWords(message)].join(': ')}`)
}

/** End of a life whose wall crashed or never answered. */
export function lost(message: string): TaskEnd {
  return { ...nothing, status: 'failed', error: { code: 'WALL_LOST', message } }
}

/**
 * End of a killed life: keeps cost, trace and network attempts, and drops the result, which arrived
 * after the kill. A limit that the wall found used up is the cause of a timeout, not the other way round.
 */
export function cutShort(
  cause: KillCause,
  end: TaskEnd = { ...nothing, status: 'failed' },
): TaskEnd {
  if (cause.status === 'timeout' && end.status === 'limit') return withLimitCode(end)
  const { cpuTime, memory, ran, network } = end
  return {
    ...nothing,
    status: cause.status,
    error: errorOf(cause),
    cpuTime,
    ...(memory && { memory }),
    ...(ran && { ran }),
    ...(network && { network }),
  }
}

/** Replaces a limit code that is none of `limitCodes` by `OTHER`: it is text of the guest. */
export function withLimitCode(end: TaskEnd): TaskEnd {
  const { status, error } = end
  if (status !== 'limit' || limitCodes.some((code) => code === error?.code)) return end
  return { ...end, error: { message: 'A limit was hit', ...error, code: 'OTHER' } }
}

/** Short reason for the timeline why a life was killed; undefined if it ended by itself. */
export function reasonOf(end: TaskEnd): string | undefined {
  if (end.status === 'ok' || end.status === 'error') return undefined
  if (end.status === 'limit') return `limit ${end.error?.code ?? ''}`.trim()
  return end.status === 'terminated' ? (end.error?.message ?? end.status) : end.status
}

const nothing = { resultText: 'null', encoding: 'json', cpuTime: 0, artifacts: [] } as const

function errorOf(cause: KillCause): OutcomeError {
  if (cause.status === 'limit') {
    const { code, reason } = cause
    const message = `The limit on ${code.toLowerCase()} was hit`
    return { code, message, ...(reason !== undefined && { details: { reason } }) }
  }
  const message = 'reason' in cause ? cause.reason : messages[cause.status]
  const details = 'lifeMs' in cause ? { details: { lifeMs: cause.lifeMs } } : {}
  return { code: cause.status.toUpperCase(), message, ...details }
}

const messages = { timeout: 'The time to run was over', cancelled: 'The caller cancelled it' }
