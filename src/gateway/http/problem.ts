import { STATUS_CODES, type ServerResponse } from 'node:http'
import * as z from 'zod'
import { errorCodes, isHintOfCaller, MayflyError } from '../../contract/error.ts'
import { outcomeSchema, type Outcome } from '../../contract/outcome.ts'

/** Longer than the other retry times, because an overloaded job has already waited in the queue. */
const RETRY_OVERLOADED_S = 5
/** Short, because a session refused at the share of its tenant has not waited in the queue. */
const RETRY_SHARE_S = 1

/** Problem details of every HTTP error (RFC 9457), with `code`, `message` and `details` for clients to switch on. */
export const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    code: z.string().describe('stable, in capitals'),
    message: z.string(),
    details: z.unknown(),
    hint: z.string().optional().describe('remedy, in one sentence'),
    remedies: z
      .array(z.object({ field: z.string(), value: z.union([z.string(), z.number()]).optional() }))
      .readonly()
      .optional()
      .describe('fields of the request that message or hint name, with a value that helps'),
    retryAfter: z.number().int().optional().describe('seconds'),
    outcome: outcomeSchema
      .optional()
      .describe('outcome of a job that was blocked, or that no wall here could run'),
  })
  .readonly()

export type Problem = z.infer<typeof problemSchema>

/** Maps an exception to a problem. Anything but a MayflyError is an internal error and reveals nothing. */
export function problemOf(thrown: unknown): Problem {
  const error =
    thrown instanceof MayflyError
      ? thrown
      : new MayflyError('INTERNAL', 'Cannot answer: an internal error occurred')
  const retryAfter =
    error.retryAfterMs === undefined ? {} : { retryAfter: seconds(error.retryAfterMs) }
  const message = withoutFolders(error)
  const { status, code, hint, remedies, details } = error
  return {
    ...problem(status, code, message, details),
    ...(isHintOfCaller(error) && { hint }),
    ...(remedies.length > 0 && { remedies }),
    ...retryAfter,
  }
}

/** Message of an error of the state folder with names of files alone: its path may name the operator. */
function withoutFolders({ code, message }: MayflyError): string {
  if (code !== 'STATE' && code !== 'DISK_FULL') return message
  return message.replace(/"\/(?:[^"]*\/)?([^"/]*)"/g, '"$1"')
}

/** Maps a blocked or unavailable outcome to a problem. */
export function problemOfOutcome(outcome: Outcome): Problem {
  const { code, message, details } = outcome.error ?? {
    code: outcome.status.toUpperCase(),
    message: `Cannot run this job: it is ${outcome.status}`,
    details: null,
  }
  const retryAfter = retryOf(code)
  return {
    ...problem(statusOf(outcome.status, code), code, message, details),
    ...retryAfter,
    outcome,
  }
}

function retryOf(code: string): { readonly retryAfter?: number } {
  if (code === 'OVERLOADED') return { retryAfter: RETRY_OVERLOADED_S }
  return code === 'RATE_LIMITED' ? { retryAfter: RETRY_SHARE_S } : {}
}

/** LANGUAGE_UNSUPPORTED and RATE_LIMITED are the client's; any other unavailability may pass. */
function statusOf(status: Outcome['status'], code: string): number {
  if (status === 'blocked') return errorCodes.THREAT_DETECTED
  const isOfClient = code === 'LANGUAGE_UNSUPPORTED' || code === 'RATE_LIMITED'
  return isOfClient ? errorCodes[code] : errorCodes.UNAVAILABLE
}

export function headersOf(problem: Problem): Record<string, string> {
  return {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(problem.retryAfter === undefined ? {} : { 'retry-after': String(problem.retryAfter) }),
    ...(problem.status === 401 ? { 'www-authenticate': challenge(problem.details) } : {}),
  }
}

export function problemResponse(
  problem: Problem,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: { ...headersOf(problem), ...headers },
  })
}

/** Writes a problem for a request refused before routing. */
export function writeProblem(outgoing: ServerResponse, problem: Problem): void {
  const text = JSON.stringify(problem)
  const length = { 'content-length': Buffer.byteLength(text) }
  outgoing.writeHead(problem.status, { ...headersOf(problem), ...length })
  outgoing.end(text)
}

function problem(status: number, code: string, message: string, details: unknown): Problem {
  return {
    type: `urn:mayfly:problem:${code}`,
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: message,
    code,
    message,
    details: details ?? null,
  }
}

function challenge(details: unknown): string {
  const error = (details as { readonly error?: string } | null)?.error
  return error ? `Bearer realm="mayfly", error="${error}"` : 'Bearer realm="mayfly"'
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000))
}
