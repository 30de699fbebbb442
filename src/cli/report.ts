import { basename } from 'node:path'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import { wordedFor } from '../contract/remedy.ts'
import { exactSize } from '../contract/unit-text.ts'
import { shownSize } from './format-value.ts'
import { codeFrameOf } from './code-frame.ts'
import { note, paint, table, type Globals } from './print.ts'
import { runHints } from './run-hints.ts'
import { sanitise, sanitiseBlock, sanitiseLine } from '../output/sanitise.ts'

/** Maximum of rich outputs named individually. */
const namedMax = 10
/** Types printed as text; of others only their presence is reported. */
const readable: ReadonlySet<string> = new Set(['text/plain', 'text/markdown', 'text/latex'])

/** Program of the job, for formatting its errors. */
export interface RanProgram {
  /** Path as given on the command line. */
  readonly file: string
  readonly code: string
  readonly language?: JobRequest['language']
  /** True for `mayfly run`, whose flags bring files and permit hosts. */
  readonly isJob?: boolean
}

/** Reports an outcome to a person: the result on stdout; errors and a status line on stderr. */
export function report(
  outcome: Outcome,
  ran: RanProgram,
  flags: Globals & { explain?: boolean; trace?: boolean },
): void {
  printResult(outcome, ran, flags)
  printCalls(outcome, flags)
  for (const line of errorLines(outcome, ran)) process.stderr.write(`${line}\n`)
  reportLeftOut(outcome, ran, flags)
  reportDisplay(outcome, flags)
  reportPending(outcome, flags)
  suggestPrivateRule(outcome, flags)
  reportShadow(outcome, flags)
  reportCaptures(outcome, flags)
  if (flags.trace) reportFunctions(outcome, flags)
  if (ran.isJob) for (const hint of runHints(outcome, ran.file)) note(flags, hint)
  note(flags, paint('dim', statusLine(outcome)))
}

const MB = 2 ** 20

/** Size that the limit of the output left out, and how to get it. */
function reportLeftOut(outcome: Outcome, { isJob }: RanProgram, flags: Globals): void {
  const { outputLeftOut, artifacts, profile } = outcome
  for (const stream of ['stdout', 'stderr'] as const) {
    const leftOut = outputLeftOut?.[stream]
    if (leftOut === undefined) continue
    const limit = Number(profile.explain.find(({ field }) => field === 'limits.output')?.value)
    const enough = Math.ceil((limit + leftOut) / MB) * MB
    const remedy = wordedFor(isJob ? 'run' : 'sandbox', { field: 'limits.output', value: enough })
    const isKept = artifacts.some(({ path }) => path === `${stream}.txt`)
    note(
      flags,
      `Output on ${stream} is larger than its limit of ${exactSize(limit)}: ${leftOut} bytes between its beginning and its end are left out; ${remedy} keeps them${isKept ? `, and so does the artifact ${stream}.txt` : ''}`,
    )
  }
}

/**
 * Prints the result on stdout. Exception: the last value of a Python program that also prints goes to stderr, to
 * keep it apart from the program's output.
 */
function printResult(outcome: Outcome, { language }: RanProgram, flags: Globals): void {
  const { status, result, encoding, stdout, exitCode } = outcome
  if (status !== 'ok' || result === null) return
  const isText = encoding === 'text' && typeof result === 'string'
  const text = isText ? result : JSON.stringify(result, undefined, 2)
  const printsToo = language === 'python' && exitCode !== null && stdout !== ''
  if (printsToo) note(flags, `Result: ${sanitise(text)}`)
  else process.stdout.write(`${forReader(text)}\n`)
}

/** Sanitises for a TTY; a pipe gets the raw text. */
function forReader(text: string): string {
  return process.stdout.isTTY ? sanitise(text) : text
}

/** Reports figures, images and other rich output. */
function reportDisplay({ display }: Outcome, flags: Globals): void {
  for (const { type, path, text = '' } of display.slice(0, namedMax)) {
    if (path !== undefined) note(flags, sanitiseLine(`Shown: ${path} (${type})`))
    else if (readable.has(type)) note(flags, sanitise(text))
    else note(flags, sanitiseLine(`Shown: ${type}, ${text.length} characters`))
  }
}

/** Reports pending work cut off by the end. */
function reportPending({ pending }: Outcome, flags: Globals): void {
  if (!pending) return
  const { timers, promises } = pending
  const shown = [
    ...(timers > 0 ? [`${timers} timer${timers > 1 ? 's' : ''}`] : []),
    ...(promises > 0 ? [`${promises} call${promises > 1 ? 's' : ''}`] : []),
  ].join(' and ')
  note(
    flags,
    `The job returned a value while ${shown} ${timers + promises > 1 ? 'were' : 'was'} pending: dropped`,
  )
}

/** Prints a batch: one line per call on stdout (result or `null`), errors on stderr. */
function printCalls({ calls }: Outcome, flags: Globals): void {
  if (!calls) return
  for (const [index, { status, result, error }] of calls.entries()) {
    process.stdout.write(`${forReader(JSON.stringify(result))}\n`)
    if (error && status !== 'skipped')
      process.stderr.write(
        `${paint('red', sanitise(error.code))} call ${index}: ${sanitiseBlock(error.message)}\n`,
      )
  }
  const good = calls.filter(({ status }) => status === 'ok').length
  note(flags, `${good} of ${calls.length} calls ended ok`)
}

/** Hint for the operator, more detailed than the guest's error. */
function suggestPrivateRule({ metrics }: Outcome, flags: Globals): void {
  const closed = metrics.network.filter(({ because }) =>
    because?.includes('" is not public, which'),
  )
  for (const place of new Set(closed.map(({ host, port }) => `${host}:${port}`)))
    note(
      flags,
      `${sanitiseLine(place)} has no public address. To allow a private address, add a rule: [ceilings] network = { allow = ["*://*:*", { host = "${sanitiseLine(place)}", private = true }] }`,
    )
}

function reportShadow({ shadow }: Outcome, flags: Globals): void {
  if (!shadow) return
  const { tier, provider, ran, because, same, differences } = shadow
  if (!ran) return note(flags, `Shadow on ${tier}: not run: ${sanitise(because ?? '')}`)
  note(flags, `Shadow on ${tier} (${provider}): ${same ? 'same outcome' : 'outcome differs'}`)
  for (const { field, path = '', first, second } of differences)
    note(flags, sanitise(`  ${field}${path}: ${first || 'nothing'} against ${second || 'nothing'}`))
}

/** Reports captures and how to extract them. */
function reportCaptures({ id, timeline, evidence }: Outcome, flags: Globals): void {
  for (const { fields } of timeline.filter(({ event }) => event === 'captured')) {
    const { kind, why, parts = [] } = (fields ?? {}) as Partial<Capturing>
    const size = parts.reduce((sum, part) => sum + part.size, 0)
    const more = why === undefined ? '' : `, ${sanitise(why)}`
    if (kind !== 'none')
      note(flags, `Captured ${shownSize(size)}${more}: mayfly evidence extract ${id} FOLDER`)
    else if (evidence.because === undefined)
      note(flags, `Nothing was captured: ${sanitise(why ?? 'no reason reported')}`)
  }
}

/** Warns of a capture that was asked for and is missing, also beside JSON. */
export function warnOfMissingCapture({ evidence }: Outcome, flags: Globals): void {
  if (evidence.because === undefined) return
  note(flags, `Nothing was captured: ${sanitise(evidence.because)}`)
  note(
    flags,
    'Captured are programs (--language node, python, a shell), by the walls of "mayfly providers --json" with "capture-memory"',
  )
}

/** Prints which functions ran in which zone; names come from the source. */
function reportFunctions({ ran }: Outcome, flags: Globals): void {
  if (!ran)
    return note(flags, 'Cannot report functions: the wall does not support --trace for this job')
  if (ran.length === 0) return note(flags, 'No function of the source was called')
  const rows = ran.map(({ zone, name, line, endLine, calls }) => [
    zone,
    sanitiseLine(name) || '(no name)',
    line === endLine ? `${line}` : `${line}-${endLine}`,
    `${calls}`,
  ])
  note(flags, table([['zone', 'function', 'lines', 'entered'], ...rows]))
}

interface Capturing {
  readonly kind: string
  readonly why: string
  readonly parts: readonly { readonly size: number }[]
}

function errorLines(outcome: Outcome, ran: RanProgram): readonly string[] {
  const { error } = outcome
  if (!error) return []
  const { name, message, code } = error
  const named = ran.file === '-' ? 'stdin' : ran.file
  const short = name ? `${name}: ${message}${placeOf(error, ran)}` : message
  const text = isStackPrinted(outcome) ? short : (stackOf(error) ?? short)
  const first = firstPlace(text, ran.file)
  const frame = first && codeFrameOf(ran.code, first.line, first.column)
  return [
    `${paint('red', sanitise(code))} ${sanitiseBlock(inFile(text.trimEnd(), named))}`,
    ...(frame ? indented(frame) : []),
    ...threats(outcome, named),
    ...egressPath(error.details),
  ]
}

/** True if the interpreter already printed the stack on its stderr. */
function isStackPrinted({ error, stderr }: Outcome): boolean {
  return error?.stack !== undefined && stderr.includes(error.stack.trimEnd())
}

/** Position in the main file or another file of the job. */
function placeOf({ details, code }: OutcomeError, { file }: RanProgram): string {
  const { file: place, line } = (details ?? {}) as Details
  // Python's message of a syntax error already contains the position.
  if (place === undefined || line === undefined || code === 'SYNTAX_ERROR') return ''
  return ` (${place === basename(file) ? file : place}:${line})`
}

/** Builds a stack for a syntax error, which has only a position. */
function stackOf({ stack, name, message, details }: OutcomeError): string | undefined {
  const { line, column } = (details ?? {}) as Details
  return (
    stack ?? (line && column ? `${name}: ${message}\n    at job.js:${line}:${column}` : undefined)
  )
}

/** Pattern of the names of the main source in outcomes. */
const nameIn = (file: string) =>
  `(?:job\\.[jt]s|${basename(file).replace(/[^\w]/gu, (unit) => `\\u{${unit.codePointAt(0)!.toString(16)}}`)})`
const PYTHON_POSITION = /^( *File )"job\.py"(?=, line \d+)/gm

/** Renames the main source to the given file. Uses a replacer function, so `$` in a file name is literal. */
function inFile(text: string, named: string): string {
  return text
    .replaceAll(
      new RegExp(`(?<![\\w./-])${nameIn(named)}:(\\d+:\\d+)`, 'gu'),
      (_, place: string) => `${named}:${place}`,
    )
    .replaceAll(PYTHON_POSITION, (_, before: string) => `${before}"${named}"`)
}

function firstPlace(text: string, file: string) {
  const frame = new RegExp(`^\\s+at (?:.* \\()?${nameIn(file)}:(\\d+):(\\d+)\\)?$`, 'mu')
  const [, line, column] = frame.exec(text) ?? []
  return line === undefined ? undefined : { line: Number(line), column: Number(column) }
}

/** Lists threats if risk kept the code from running. */
function threats({ status, security }: Outcome, file: string): readonly string[] {
  if (status !== 'blocked' && status !== 'unavailable') return []
  const rows = security.findings
    .filter(({ kind }) => kind === 'threat')
    .map((one) => [`${file}:${one.line}:${one.column}`, one.name, one.severity, one.description])
  return rows.length > 0 ? indented(sanitise(table(rows))) : []
}

interface Details {
  readonly file?: string
  readonly line?: number
  readonly column?: number
  readonly hint?: string
  readonly providers?: readonly { readonly name: string; readonly reason: string }[]
}

function egressPath(details: unknown): readonly string[] {
  const { hint, providers } = (details ?? {}) as Partial<Record<keyof Details, unknown>>
  const list = Array.isArray(providers) ? (providers as NonNullable<Details['providers']>) : []
  const walls = list
    .filter(({ name }) => name !== 'mock')
    .map(({ name, reason }) => sanitise(`${name}: ${reason}`))
  const hintLines = typeof hint === 'string' ? [paint('dim', sanitise(hint))] : []
  return indented([...walls, ...hintLines].join('\n'))
}

function indented(text: string): readonly string[] {
  return text === '' ? [] : text.split('\n').map((line) => `  ${line}`)
}

/** `ok · isolate (isolated-vm) · 1.2 ms · peak 3.1 MB · risk 0 · audit line 12`; plus the behavior score if above 0. */
function statusLine(outcome: Outcome): string {
  const { status, tier, provider, metrics, security, evidence, cachedFrom } = outcome
  const { memoryUsage, executionTime } = metrics
  return [
    status,
    provider ? `${tier} (${provider})` : 'did not run',
    ...(provider ? [`${executionTime.toFixed(1)} ms`] : []),
    ...(memoryUsage ? [`peak ${shownSize(memoryUsage.peak)}`] : []),
    ...(cachedFrom ? [`given again, from ${cachedFrom.id}`] : []),
    security.judged ? `risk ${security.risk}` : 'not judged',
    ...(security.behaviorScore > 0 ? [`behavior ${security.behaviorScore}`] : []),
    `audit line ${evidence.audit}`,
  ].join(' · ')
}
