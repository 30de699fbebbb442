/**
 * Remedies: changes of a request with which a job that was refused, ended or lacked something would go on.
 *
 * Problem: the same text is read by a caller of HTTP, of a flag, of a tool of MCP and by the author of a page. Each names the field
 * differently, and some cannot set it at all.
 *
 * Mechanism: a remedy is data beside the text, in `details.remedies` of an outcome's error or in `remedies` of a `MayflyError`, and the
 * text contains `remedyText(remedy)`, the wording of HTTP and library. Command line, MCP and page call `reworded` with their entry
 * point, which replaces each by its own wording. All wordings are noun phrases, so "… raises it" or "use …" fit around them.
 *
 * A new hint: `message: \`… (${remedyText(one)} raises it)\``, `details: { remedies: [one] }`. A field is added to `remedyFields`
 * and to `wordings`. A line that only one entry point prints: `wordedFor('run', one)`.
 *
 * Relies on the host alone writing `details.remedies`. An outcome is read from a server too, so `remediesIn` drops all but known
 * fields with plain values, and only the last occurrence in a text is replaced: names that a program chose come before a remedy.
 */
import type { OutcomeError } from './outcome-error.ts'
import { exactDuration, exactSize } from './unit-text.ts'

const REMEDIES_MAX = 8
/** A word, path or host that is safe in a line for a shell. */
const PLAIN_VALUE = /^[\w.*:/[\]-]{1,300}$/

const remedyFields = [
  'limits.timeout',
  'limits.memory',
  'limits.cpu',
  'limits.cpuTime',
  'limits.processes',
  'limits.disk',
  'limits.output',
  'limits.artifacts',
  'limits.result',
  'limits.instructions',
  'network',
  'language',
  'files',
  'packages',
  'input',
  'entry',
  'tier',
  'signature',
  'config',
  'state',
] as const
type RemedyField = (typeof remedyFields)[number]

export interface Remedy {
  readonly field: RemedyField
  /** Value that helps: milliseconds, bytes or a count for limits, else a word, a path or a host. */
  readonly value?: number | string
  /** The field belongs to the session of an exec: only a new session can have another value. */
  readonly of?: 'session'
}

/**
 * Reader of a text. `api`: HTTP and library; `run`, `exec`, `sandbox`: verbs of the command line; `run_code`, `run_session`: tools of
 * MCP; `page`: author of a page.
 */
export type EntryPoint =
  | 'api'
  | 'run'
  | 'exec'
  | 'inspect'
  | 'sandbox'
  | 'run_code'
  | 'run_session'
  | 'page'

/** Wording of HTTP and library, as it stands in messages. */
export function remedyText(remedy: Remedy): string {
  return wordedFor('api', remedy)
}

/** Wording of one entry point: how its caller changes the field, or by whom it is changed. */
export function wordedFor(entry: EntryPoint, remedy: Remedy): string {
  const words = wordings[entry]
  const own = remedy.of === 'session' ? words[`session ${remedy.field}`] : undefined
  return (own ?? words[remedy.field] ?? words.other)(valueText(remedy), remedy.field)
}

/** The error as the caller of an entry point is to read it: message, stack and hint. */
export function reworded(entry: EntryPoint, error: OutcomeError): OutcomeError {
  const remedies = remediesIn(error.details)
  if (remedies.length === 0) return error
  const own = (text: string) => rewordedText(entry, text, remedies)
  const { hint } = error.details as { readonly hint?: unknown }
  return {
    ...error,
    message: own(error.message),
    ...(error.stack !== undefined && { stack: own(error.stack) }),
    ...(typeof hint === 'string' && {
      details: { ...(error.details as object), hint: own(hint) },
    }),
  }
}

/** A text with the wording of an entry point in place of that of HTTP and library. */
export function rewordedText(
  entry: EntryPoint,
  text: string,
  remedies: readonly Remedy[] = [],
): string {
  return remedies.reduce(
    (rest, one) => replaceLast(rest, remedyText(one), wordedFor(entry, one)),
    text,
  )
}

function replaceLast(text: string, words: string, by: string): string {
  const at = text.lastIndexOf(words)
  return at < 0 ? text : `${text.slice(0, at)}${by}${text.slice(at + words.length)}`
}

/** Known remedies in the details of an error. */
export function remediesIn(details: unknown): readonly Remedy[] {
  const { remedies } = (details ?? {}) as { readonly remedies?: unknown }
  if (!Array.isArray(remedies)) return []
  return remedies.slice(0, REMEDIES_MAX).filter(isRemedy)
}

function isRemedy(one: unknown): one is Remedy {
  const { field, value, of } = (one ?? {}) as Partial<Record<keyof Remedy, unknown>>
  const isPlain =
    value === undefined ||
    (typeof value === 'number' && value >= 0) ||
    (typeof value === 'string' && PLAIN_VALUE.test(value))
  return (
    remedyFields.includes(field as RemedyField) &&
    isPlain &&
    [undefined, 'session'].includes(of as undefined)
  )
}

/** The error of an exec, whose sandbox has all limits but `own` from its session. */
export function ofSession(error: OutcomeError, own: readonly string[]): OutcomeError {
  const of = (one: Remedy): Remedy =>
    one.field.startsWith('limits.') && !own.includes(last(one.field))
      ? { ...one, of: 'session' }
      : one
  const given = remediesIn(error.details)
  if (given.length === 0) return error
  const message = given.reduce(
    (text, one) => replaceLast(text, remedyText(one), remedyText(of(one))),
    error.message,
  )
  return { ...error, message, details: { ...(error.details as object), remedies: given.map(of) } }
}

const MB = 2 ** 20
/** Least value that is worth another try. */
const leastRaised: Partial<Record<RemedyField, number>> = {
  'limits.timeout': 500,
  'limits.memory': 32 * MB,
  'limits.disk': MB,
  'limits.output': MB,
  'limits.processes': 8,
}

/** Remedy for a limit that was reached: twice its value, and no less than an ordinary program needs. */
export function raised(field: RemedyField, value: number): Remedy {
  const twice = isSize(field) ? Math.ceil((value * 2) / MB) * MB : value * 2
  return { field, value: Math.max(twice, leastRaised[field] ?? 0) }
}

const isSize = (field: RemedyField) => /memory|disk|output|artifacts/.test(field)
const isTime = (field: RemedyField) => field === 'limits.timeout' || field === 'limits.cpuTime'

function valueText({ field, value }: Remedy): string {
  if (typeof value !== 'number') return value ?? ''
  if (isSize(field)) return exactSize(value)
  return isTime(field) ? exactDuration(value) : `${value}`
}

type Wording = (value: string, field: RemedyField) => string
type Wordings = { readonly other: Wording } & Readonly<Record<string, Wording>>

const json = (name: string, value: string) => `${name} ${JSON.stringify(value)}`
const flag = (name: string) => (value: string) => `--${name} ${value}`
/** Name of a limit without its group. */
const last = (field: RemedyField) => field.slice(field.indexOf('.') + 1)
const operators: Wording = (_value, field) => `"${field}" in the operator's configuration`
const installed = () => "packages that the operator's machine has"

const limitFlags = {
  'limits.timeout': flag('timeout'),
  'limits.memory': flag('memory'),
  'limits.cpu': flag('cpu'),
  'limits.cpuTime': flag('cpu-time'),
  'limits.processes': flag('processes'),
  'limits.disk': flag('disk'),
  'limits.output': flag('output'),
  'limits.artifacts': flag('artifacts-max'),
  'limits.instructions': flag('instructions'),
} satisfies Partial<Record<RemedyField, Wording>>

const atCreate = (name: string) => (value: string) => `"mayfly sandbox create --${name} ${value}"`
const numeric = (value: string) => (/^[\d.]+$/.test(value) ? value : JSON.stringify(value))
const toolLimit: Wording = (value, field) =>
  value === '' ? `limits.${last(field)}` : `limits {"${last(field)}": ${numeric(value)}}`
const calledInCode = () => 'a line of the code that calls it'
const unsigned = () => 'the operator: a call here carries none'

const wordings: Readonly<Record<EntryPoint, Wordings>> = {
  api: {
    other: (value, field) => (value === '' ? `"${field}"` : `"${field}": "${value}"`),
    packages: () => '"packages"',
    files: () => '"files"',
    input: () => '"input"',
    state: () => '"MAYFLY_STATE"',
    config: (file) => `MAYFLY_CONFIG=${file}`,
    signature: () => '"mayfly keys sign"',
    ...mapped(limitFlags, (field) => `"${field}"`),
    'limits.result': operators,
    ...mapped(limitFlags, (field) => `"${field}" of a new session`, 'session '),
    network: (host) => `"network": {"allow": ["${host || 'HOST'}"]}`,
  },
  run: {
    other: operators,
    ...limitFlags,
    network: (host) => `--allow ${host || 'HOST'}`,
    language: flag('language'),
    files: (path) => `--file ${path || 'PATH'}`,
    packages: (path) => `--packages ${path || 'FOLDER'}`,
    input: () => '--input',
    entry: flag('entry'),
    tier: flag('tier'),
    state: () => '"--state" or "MAYFLY_STATE"',
    config: flag('config'),
    signature: () => '"mayfly keys sign"',
  },
  exec: {
    other: operators,
    'limits.timeout': flag('timeout'),
    'limits.memory': () => 'a larger machine',
    signature: unsigned,
    network: (host) => `--allow ${host || 'HOST'}`,
  },
  inspect: {
    other: operators,
    ...mapped(limitFlags, (field, value) => `"mayfly run ${limitFlags[field](value)}"`),
    'limits.timeout': flag('timeout'),
    language: flag('language'),
    tier: flag('tier'),
  },
  sandbox: {
    other: operators,
    packages: installed,
    'limits.timeout': flag('timeout'),
    'limits.cpuTime': flag('cpu-time'),
    'limits.output': flag('output'),
    'limits.memory': atCreate('memory'),
    'limits.cpu': atCreate('cpu'),
    'limits.processes': atCreate('processes'),
    'limits.disk': atCreate('disk'),
    network: (host) => atCreate('allow')(host || 'HOST'),
    signature: unsigned,
    language: atCreate('language'),
    files: (path) => `"mayfly sandbox put ID ${path || 'FILE'}"`,
    input: () => '--input',
    tier: atCreate('tier'),
  },
  run_code: {
    other: operators,
    packages: installed,
    'limits.timeout': toolLimit,
    'limits.memory': toolLimit,
    signature: unsigned,
    language: (value) => json('language', value),
    files: () => 'files',
    input: () => 'input',
    entry: calledInCode,
    tier: (value) => json('floor', value),
  },
  run_session: {
    other: operators,
    packages: installed,
    'limits.timeout': toolLimit,
    'limits.output': toolLimit,
    signature: unsigned,
    language: (value) => `${json('language', value)} of a new session`,
    files: () => 'write_file',
    entry: calledInCode,
    input: () => 'input',
  },
  page: {
    other: operators,
    packages: installed,
    signature: unsigned,
    language: (value) => json('"language":', value),
    files: () => 'code that contains it',
    entry: calledInCode,
    input: () => '"input"',
  },
}

/** The same wording for all fields of a table. */
function mapped<const Field extends RemedyField>(
  fields: Partial<Record<Field, unknown>>,
  words: (field: Field, value: string) => string,
  prefix: '' | 'session ' = '',
): Readonly<Record<string, Wording>> {
  const all = Object.keys(fields) as Field[]
  return Object.fromEntries(
    all.map((field) => [`${prefix}${field}`, (value: string) => words(field, value)]),
  )
}
