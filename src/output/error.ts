import { grantsNetwork } from '../contract/controls.ts'
import { lengthOf } from '../contract/phase.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { Profile } from '../contract/profile.ts'
import type { TaskEnd } from '../contract/provider.ts'
import { raised, remediesIn, remedyText, type Remedy } from '../contract/remedy.ts'
import { exactSize } from '../contract/unit-text.ts'
import { attempt } from '../lib/attempt.ts'

/** Maximum length of each error text in UTF-16 units. Most come from the guest. */
const unitsMax = { code: 64, name: 200, message: 8192, stack: 16_384, details: 4096 }

/** Error of an end other than `ok`, bounded and well-formed; derived from the status if there is none. */
export function boundError({
  status,
  error,
}: { readonly status: string } & Pick<TaskEnd, 'error'>): OutcomeError {
  const { name, stack, details } = error ?? {}
  return {
    code: bound(error?.code ?? status.toUpperCase(), unitsMax.code),
    ...(name !== undefined && { name: bound(name, unitsMax.name) }),
    message: bound(error?.message ?? `The job ended as "${status}"`, unitsMax.message),
    ...(stack !== undefined && { stack: bound(stack, unitsMax.stack) }),
    ...(isSmall(details) && { details }),
  }
}

/** Below this, the caller probably confused seconds with milliseconds. */
const SUSPICIOUS_MS = 100

/** Name of each limit in a request, and the text for exceeding it. */
const overrun = {
  TIMEOUT: ['timeout', 'The job ran longer than'],
  MEMORY: ['memory', 'The job used more memory than'],
  CPU: ['cpuTime', 'The job used more processor time than'],
  DISK: ['disk', 'The files of the job take more space than'],
  PROCESSES: ['processes', 'The job had more processes and threads than'],
  OUTPUT: ['output', 'The job wrote more to an output than'],
  INSTRUCTIONS: ['instructions', 'The module ran more instructions than'],
} as const

const guestRemedies: readonly Remedy[] = [
  { field: 'language', value: 'node' },
  { field: 'network' },
  { field: 'files' },
]
/** Errors whose messages a guest of Mayfly completes with remedies. */
const hasGuestRemedy = ({ code, name }: OutcomeError): boolean =>
  code === 'IMPORT_REFUSED' || code === 'MODULE_NOT_FOUND' || name === 'ReferenceError'

/** Adds the remedies that a message of the guest names. They are found in the text: details of guests are positions only. */
export function withRemedies(error: OutcomeError): OutcomeError {
  if (!hasGuestRemedy(error)) return error
  const remedies = guestRemedies.filter((one) => error.message.includes(remedyText(one)))
  return remedies.length === 0
    ? error
    : { ...error, details: { ...(error.details as object | undefined), remedies } }
}

/** Adds to the error of a result that is too large its bound, the key that raises it, and a way without it. */
export function withResultBound(error: OutcomeError, bytesMax: number): OutcomeError {
  if (error.code !== 'RESULT_TOO_LARGE' || !error.message.endsWith(' may return')) return error
  const remedy: Remedy = { field: 'limits.result' }
  const message = `${error.message}: ${exactSize(bytesMax)} (write it to a file, or have ${remedyText(remedy)} raised)`
  const details = { limit: { field: remedy.field, value: bytesMax }, remedies: [remedy] }
  return { ...error, message, details }
}

/** Characters of stderr, from its end, that are searched. */
const TAIL = 8_000
const NO_NETWORK =
  /\b(?:ENOTFOUND|EAI_AGAIN|ENETUNREACH)\b|Name or service not known|[Cc]ould not resolve host|Network is unreachable|\bno such host\b|unable to resolve host address/
/** Lines of pip, npm, pnpm and yarn. */
const INSTALLER =
  /No matching distribution found|\bnpm (?:error|ERR!)|\bERR_PNPM_|\byarn (?:add|install)\b/

/** Names a closed network as the cause of a failure that reads like it, and what an installer needs instead. */
export function withClosedNetwork(
  error: OutcomeError,
  { network }: Profile['controls'],
  stderr: string,
): OutcomeError {
  const text = `${error.message}\n${error.stack ?? ''}\n${stderr.slice(-TAIL)}`
  if (grantsNetwork(network) || !NO_NETWORK.test(text)) return error
  const [host, packages] = [{ field: 'network' }, { field: 'packages' }] as const
  const isInstaller = INSTALLER.test(text)
  const more = isInstaller ? `; for packages use ${remedyText(packages)}` : ''
  const own: readonly Remedy[] = isInstaller ? [host, packages] : [host]
  return {
    ...error,
    message: `${error.message.replace(/\.$/, '')}: the job has no network (${remedyText(host)} permits a host${more})`,
    details: {
      ...(error.details as object | undefined),
      remedies: [...remediesIn(error.details), ...own],
    },
  }
}

/**
 * Adds to a limit error which limit, its value, and how to raise it. Other errors are unchanged. A limit set by the
 * configuration can only be raised there.
 */
export function withLimit(error: OutcomeError, profile: Profile, peakBytes = 0): OutcomeError {
  const [name, what] = Object.hasOwn(overrun, error.code)
    ? overrun[error.code as keyof typeof overrun]
    : []
  if (name === undefined) return error
  const { limits, schedule, explain } = profile
  const lifeMs = lengthOf(schedule.phases)
  const { lifeMs: shortened } = (error.details ?? {}) as { readonly lifeMs?: number }
  if (name === 'timeout' && shortened !== undefined) {
    const message = `The life of schedule "${schedule.name}" was over after ${seconds(shortened)} of ${seconds(Math.min(lifeMs, limits.timeout))}: its phases ended early`
    return { ...error, message }
  }
  if (name === 'timeout' && lifeMs < limits.timeout) {
    const message = `The life of schedule "${schedule.name}" was over after ${seconds(lifeMs)}: its phases are that long`
    return { ...error, message }
  }
  const field = `limits.${name}` as const
  const { reason } = (error.details ?? {}) as { readonly reason?: string }
  const { tightenedTo } = (error.details ?? {}) as { readonly tightenedTo?: number }
  const isTightened = name === 'memory' && tightenedTo !== undefined
  const value = isTightened ? tightenedTo : limits[name]
  if (value === undefined) return error
  const because = explain.find((row) => row.field === field)?.because ?? ''
  const isAsked = because === 'asked' || because === 'default' || because === field
  const isMistaken = name === 'timeout' && because === 'asked' && value < SUSPICIOUS_MS
  const unit = isMistaken ? '; a number is milliseconds, "5s" is five seconds' : ''
  const tightened = isTightened && `tightened from ${amountOf(name, limits.memory)} while it ran`
  const more = raised(field, value)
  const isRaisable = isAsked && !tightened
  const remedy =
    tightened ||
    (isAsked ? `${remedyText(more)} raises it` : `the operator's "${because}" holds it there`)
  const had =
    name === 'memory' && !isTightened && peakBytes > value
      ? `, ${amountOf(name, peakBytes)} when it was ended`
      : ''
  const isStorm = name === 'processes' && reason !== undefined
  const overran = isStorm ? 'The job started processes without end, of at most' : what
  const message = `${overran} ${amountOf(name, value)}${had} (${remedy}${unit})`
  const details: object = {
    ...(error.details as object),
    limit: { field, value, because },
    ...(isRaisable && { remedies: [more] satisfies Remedy[] }),
  }
  return { ...error, message, details }
}

function amountOf(name: (typeof overrun)[keyof typeof overrun][0], value: number): string {
  if (name === 'timeout') return `${seconds(value)} of wall time`
  if (name === 'cpuTime') return seconds(value)
  if (name === 'processes' || name === 'instructions') return `${value}`
  const units = [
    ['GB', 2 ** 30],
    ['MB', 2 ** 20],
    ['KB', 2 ** 10],
  ] as const
  const [unit, per] = units.find(([, per]) => value >= per) ?? ['bytes', 1]
  return `${Math.round((value / per) * 10) / 10} ${unit}`
}

function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${Math.round(ms / 100) / 10} s`
}

function bound(text: string, units: number): string {
  return text.slice(0, units).toWellFormed()
}

/** Omits details that are too large or cannot be serialised. */
function isSmall(details: unknown): boolean {
  if (details === undefined) return false
  return attempt(() => JSON.stringify(details).length <= unitsMax.details) ?? false
}
