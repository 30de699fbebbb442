import type * as z from 'zod'
import { plainWords } from './contract/checked.ts'
import type { Clock } from './contract/clock.ts'
import { MayflyError } from './contract/error.ts'
import {
  jobRequest,
  limits,
  type Job,
  type JobAsked,
  type JobRequest,
  type Origin,
} from './contract/job.ts'
import type { PackageLayer } from './contract/layer.ts'
import { remedyText } from './contract/remedy.ts'
import { assertInputFits, makeJob } from './contract/make-job.ts'

/** Identity for which a job is made, and the entry point it came through. */
export interface Requester {
  readonly tenant: string
  readonly principal: string
  readonly origin: Origin
  /** Name of the called capability. */
  readonly capability?: string
  /** Package layers of the job. */
  readonly packages?: readonly PackageLayer[]
  /** Analyses zones regardless of the schedule. */
  readonly zones?: NonNullable<Job['zones']>
  /** Validated W3C traceparent header. */
  readonly traceparent?: string
}

/** Maximum length of a tenant name; the same limit as for API keys. */
const TENANT_CHARACTERS_MAX = 64

/**
 * Makes a Job from a request in this process. The input is serialised as JSON here; a value without a JSON form is
 * refused. Throws MayflyError INVALID with `details` [{path, message}].
 */
export function newJob(asked: JobRequest, requester: Requester, clock: Clock): Job {
  const read = jobRequest.safeParse(asked)
  if (!read.success) {
    const details = read.error.issues.map((issue) => ({
      path: issue.path.join('.'),
      message: issueText(issue),
    }))
    const first = details[0]!
    throw invalid(`"${first.path || 'job'}": ${first.message}`, details)
  }
  const { tenant } = requester
  if (typeof tenant !== 'string' || tenant.length < 1 || tenant.length > TENANT_CHARACTERS_MAX)
    throw invalid(`"tenant": expected a name of 1 to ${TENANT_CHARACTERS_MAX} characters`, [
      { path: 'tenant', message: 'expected a name' },
    ])
  const { code } = read.data
  if (code === undefined)
    throw invalid('"code" is missing', [{ path: 'code', message: 'expected source text' }])
  const masked = requester.packages?.some(({ kind }) => kind === 'node')
    ? read.data.files.find(({ path }) => /^(?:\.\/)*node_modules(?:\/|$)/.test(path))
    : undefined
  if (masked)
    throw invalid(`"files": "${masked.path}" is below the node_modules of its packages`, [
      { path: 'files', message: 'expected no file below node_modules beside packages' },
    ])
  return {
    ...makeJob({ ...read.data, code }, requester, clock),
    inputText: batchTextOf(read.data, inputTextOf(read.data.input)),
  }
}

/** Names the field that was meant where a limit stands outside of `limits`, also as `timeoutMs`. */
function issueText(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'unrecognized_keys') return plainWords(issue.message)
  if (issue.path.join() === 'limits' && issue.keys.includes('result'))
    return `${issue.message}; a job cannot set ${remedyText({ field: 'limits.result' })}`
  if (issue.path.length > 0) return plainWords(issue.message)
  const meant = issue.keys
    .map((key) => key.replace(/(?:Ms|MB|MiB)$/, ''))
    .find((name) => limitNames.includes(name))
  return meant === undefined ? issue.message : `${issue.message}; a limit goes as "limits.${meant}"`
}

const limitNames = Object.keys(limits.unwrap().shape)

/**
 * Inputs of a batch as one JSON list: a call without an input gets that of the job. Without `calls`, returns
 * `inputText`. Throws MayflyError INVALID for an input without a JSON form, and TOO_LARGE.
 */
export function batchTextOf({ calls }: Pick<JobAsked, 'calls'>, inputText: string): string {
  assertInputFits(inputText.length)
  if (!calls) return inputText
  const texts = calls.map(({ input }) => (input === undefined ? inputText : inputTextOf(input)))
  // Before they are joined: a thousand calls without an input repeat that of the job.
  assertInputFits(texts.reduce((sum, { length }) => sum + length + 1, 1))
  return `[${texts.join(',')}]`
}

function inputTextOf(input: unknown): string {
  try {
    return JSON.stringify(input) ?? 'null'
  } catch (cause) {
    throw new MayflyError('INVALID', 'Cannot send the input: it is not JSON', { cause })
  }
}

function invalid(what: string, details: unknown): MayflyError {
  return new MayflyError('INVALID', `Cannot accept the job: ${what}`, { details })
}
