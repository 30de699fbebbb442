import { basename } from 'node:path'
import type { Language } from '../contract/job.ts'
import type { Outcome, OutcomeError } from '../contract/outcome.ts'
import { megabytes, shown } from './amount.ts'
import { frameOf } from './frame.ts'
import { note, paint, table, type Globals } from './print.ts'
import { sanitise } from '../output/sanitise.ts'

/** Forms that are named one by one. */
const namedMax = 10
/** Forms that are read as text; of the others it is told that they are there. */
const readable: ReadonlySet<string> = new Set(['text/plain', 'text/markdown', 'text/latex'])

/** What the job was, for those who read how it ended. */
export interface Ran {
  /** As it was given on the command line. */
  readonly file: string
  readonly code: string
  readonly language?: Language | undefined
}

/** An outcome for people: the result on stdout; what went wrong, and one line of how it went, on stderr. */
export function report(
  outcome: Outcome,
  ran: Ran,
  flags: Globals & { explain?: boolean; trace?: boolean },
): void {
  tellResult(outcome, ran, flags)
  tellCalls(outcome, flags)
  for (const line of errorLines(outcome, ran)) process.stderr.write(`${line}\n`)
  for (const stream of ['stdout', 'stderr'] as const)
    if (outcome.truncated[stream]) note(flags, `What it wrote to ${stream} was cut at its limit`)
  tellShown(outcome, flags)
  tellPending(outcome, flags)
  tellNotPublic(outcome, flags)
  tellShadow(outcome, flags)
  tellCaptured(outcome, flags)
  if (flags.trace) tellRan(outcome, flags)
  note(flags, paint('dim', statusLine(outcome)))
}

/**
 * On stdout; but what a Python program that prints comes to besides, as the value of its last line, is told on stderr:
 * on stdout it would stand among what the program wrote.
 */
function tellResult(outcome: Outcome, { language }: Ran, flags: Globals): void {
  const { status, result, encoding, stdout, exitCode } = outcome
  if (status !== 'ok' || result === null) return
  const isText = encoding === 'text' && typeof result === 'string'
  const text = isText ? result : JSON.stringify(result, undefined, 2)
  const isBeside = language === 'python' && exitCode !== null && stdout !== ''
  if (isBeside) note(flags, `Result: ${sanitise(text)}`)
  else process.stdout.write(`${forReader(text)}\n`)
}

/** A terminal is told nothing that could move it; what reads a pipe has the text as it is. */
function forReader(text: string): string {
  return process.stdout.isTTY ? sanitise(text) : text
}

/** Figures, images, and other forms of its result. */
function tellShown({ display }: Outcome, flags: Globals): void {
  for (const { type, path, text = '' } of display.slice(0, namedMax)) {
    if (path !== undefined) note(flags, sanitise(`Shown: ${path} (${type})`))
    else if (readable.has(type)) note(flags, sanitise(text))
    else note(flags, sanitise(`Shown: ${type}, ${text.length} characters`))
  }
}

/** Work that its own end cut off. */
function tellPending({ pending }: Outcome, flags: Globals): void {
  if (!pending) return
  const { timers, promises } = pending
  const what = [
    ...(timers > 0 ? [`${timers} timer${timers > 1 ? 's' : ''}`] : []),
    ...(promises > 0 ? [`${promises} call${promises > 1 ? 's' : ''}`] : []),
  ].join(' and ')
  note(
    flags,
    `It returned a value while ${what} ${timers + promises > 1 ? 'were' : 'was'} under way: dropped`,
  )
}

/** Of a batch a line on stdout for each call, its result or `null`, and on stderr what went wrong with which. */
function tellCalls({ calls }: Outcome, flags: Globals): void {
  if (!calls) return
  for (const [index, { status, result, error }] of calls.entries()) {
    process.stdout.write(`${forReader(JSON.stringify(result))}\n`)
    if (error && status !== 'skipped')
      process.stderr.write(
        `${paint('red', sanitise(error.code))} call ${index}: ${sanitise(error.message)}\n`,
      )
  }
  const good = calls.filter(({ status }) => status === 'ok').length
  note(flags, `${good} of ${calls.length} calls ended ok`)
}

/** The way on for whoever runs it: a guest hears less. */
function tellNotPublic({ metrics }: Outcome, flags: Globals): void {
  const closed = metrics.network.filter(({ because }) =>
    because?.includes('" is not public, which'),
  )
  for (const place of new Set(closed.map(({ host, port }) => `${host}:${port}`)))
    note(
      flags,
      `${sanitise(place)} is not at a public address. A rule lets out to a private one: [ceilings] network = { allow = ["*://*:*", { host = "${sanitise(place)}", private = true }] }`,
    )
}

function tellShadow({ shadow }: Outcome, flags: Globals): void {
  if (!shadow) return
  const { tier, provider, ran, because, same, differences } = shadow
  if (!ran) return note(flags, `Shadow on ${tier}: not run. ${sanitise(because ?? '')}`)
  note(flags, `Shadow on ${tier} (${provider}): ${same ? 'the same' : 'it differs'}`)
  for (const { field, path = '', first, second } of differences)
    note(flags, sanitise(`  ${field}${path}: ${first || 'nothing'} against ${second || 'nothing'}`))
}

/** What a capture came to, and how to have it. */
function tellCaptured({ id, timeline }: Outcome, flags: Globals): void {
  for (const { fields } of timeline.filter(({ event }) => event === 'captured')) {
    const { kind, why, parts = [] } = (fields ?? {}) as Partial<Capturing>
    const size = parts.reduce((sum, part) => sum + part.size, 0)
    const more = why === undefined ? '' : `, ${sanitise(why)}`
    if (kind === 'none') note(flags, `Nothing was captured: ${sanitise(why ?? 'nobody said why')}`)
    else note(flags, `Captured ${megabytes(size)}${more}: mayfly evidence extract ${id} FOLDER`)
  }
}

/** Which functions ran where; names are the source's own. */
function tellRan({ ran }: Outcome, flags: Globals): void {
  if (!ran) return note(flags, 'Which functions ran is not known: its wall could not tell')
  if (ran.length === 0) return note(flags, 'It called no function of its own')
  const rows = ran.map(({ zone, name, line, endLine, calls }) => [
    zone,
    sanitise(name) || '(no name)',
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

function errorLines(outcome: Outcome, ran: Ran): readonly string[] {
  const { error } = outcome
  if (!error) return []
  const { name, message, code } = error
  const named = ran.file === '-' ? 'stdin' : ran.file
  const short = name ? `${name}: ${message}${placeOf(error, ran)}` : message
  const text = isTold(outcome) ? short : (stackOf(error) ?? short)
  const first = firstPlace(text, ran.file)
  const frame = first && frameOf(ran.code, first.line, first.column)
  return [
    `${paint('red', sanitise(code))} ${sanitise(byFlag(inFile(text.trimEnd(), named), error.details))}`,
    ...(frame ? indented(frame) : []),
    ...threats(outcome, named),
    ...wayOut(error.details),
  ]
}

/** An interpreter tells what went wrong on its own stderr. */
function isTold({ error, stderr }: Outcome): boolean {
  return error?.stack !== undefined && stderr.includes(error.stack.trimEnd())
}

/** In the file that was given, or another one of the job's. */
function placeOf({ details, code }: OutcomeError, { file }: Ran): string {
  const { file: place, line } = (details ?? {}) as Details
  // Python's own message of a source that it cannot read has its place.
  if (place === undefined || line === undefined || code === 'SYNTAX_ERROR') return ''
  return ` (${place === basename(file) ? file : place}:${line})`
}

const flagOf: Readonly<Record<string, (value: number) => string>> = {
  'limits.timeout': (ms) => `--timeout ${shown('timeout', ms * 2)}`,
  'limits.memory': (bytes) => `--memory ${shown('memory', bytes * 2)}`,
  'limits.disk': (bytes) => `--disk ${shown('disk', bytes * 2)}`,
  'limits.output': (bytes) => `--output ${shown('output', bytes * 2)}`,
  'limits.processes': (count) => `--processes ${count * 2}`,
  'limits.cpu': (cores) => `--cpu ${cores * 2}`,
}

/** Where a field of the job would raise a limit, the flag that does so here. */
function byFlag(text: string, details: unknown): string {
  const { field = '', value = 0 } = (details as Partial<Details> | undefined)?.limit ?? {}
  const flag = Object.hasOwn(flagOf, field) ? flagOf[field] : undefined
  return flag ? text.replace(`"${field}" raises it`, () => `${flag(value)} raises it`) : text
}

/** A source that does not parse has a place and no stack. */
function stackOf({ stack, name, message, details }: OutcomeError): string | undefined {
  const { line, column } = (details ?? {}) as Details
  return (
    stack ?? (line && column ? `${name}: ${message}\n    at job.js:${line}:${column}` : undefined)
  )
}

/** What the user's own source is called in an outcome; other files of the job have names of their own. */
const nameIn = (file: string) =>
  `(?:job\\.[jt]s|${basename(file).replace(/[^\w]/gu, (unit) => `\\u{${unit.codePointAt(0)!.toString(16)}}`)})`
const PYTHON_POSITION = /^( *File )"job\.py"(?=, line \d+)/gm

/** In words of the file that was given; a function, so that no `$` of its name is one of a pattern. */
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

/** What made the risk, where it was the risk that kept the code from running. */
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
  readonly limit?: { readonly field: string; readonly value: number }
  readonly providers?: readonly { readonly name: string; readonly reason: string }[]
}

function wayOut(details: unknown): readonly string[] {
  const { hint, providers } = (details ?? {}) as Partial<Record<keyof Details, unknown>>
  const list = Array.isArray(providers) ? (providers as NonNullable<Details['providers']>) : []
  const walls = list
    .filter(({ name }) => name !== 'mock')
    .map(({ name, reason }) => sanitise(`${name}: ${reason}`))
  const way = typeof hint === 'string' ? [paint('dim', sanitise(hint))] : []
  return indented([...walls, ...way].join('\n'))
}

function indented(text: string): readonly string[] {
  return text === '' ? [] : text.split('\n').map((line) => `  ${line}`)
}

/** `ok · isolate (isolated-vm) · 1.2 ms · peak 3.1 MB · risk 0 · audit line 12`; after anomalies also what they come to. */
function statusLine(outcome: Outcome): string {
  const { status, tier, provider, metrics, security, evidence, cachedFrom } = outcome
  const { memoryUsage, executionTime } = metrics
  return [
    status,
    provider ? `${tier} (${provider})` : 'did not run',
    ...(provider ? [`${executionTime.toFixed(1)} ms`] : []),
    ...(memoryUsage ? [`peak ${megabytes(memoryUsage.peak)}`] : []),
    ...(cachedFrom ? [`given again, from ${cachedFrom.id}`] : []),
    `risk ${security.risk}`,
    ...(security.behaviorScore > 0 ? [`behavior ${security.behaviorScore}`] : []),
    `audit line ${evidence.audit}`,
  ].join(' · ')
}
