import { MayflyError, messageOf } from '../contract/error.ts'
import { notRunExitCode, usageExitCode } from '../contract/exit-codes.ts'
import { rewordedText, type Remedy } from '../contract/remedy.ts'
import { sanitise, sanitiseBlock, sanitiseLine } from '../output/sanitise.ts'

/** Global options. */
export interface Globals {
  readonly json?: boolean
  /** The short form of the document, where the verb has one. */
  readonly short?: boolean
  readonly quiet?: boolean
  readonly verbose?: boolean
  readonly config?: string
  readonly state?: string
  /** Form of what a server prints on stderr. */
  readonly logFormat?: 'text' | 'json'
}

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 } as const

/** Colours text on a TTY, unless NO_COLOR is set. */
export function paint(
  colour: keyof typeof CODES,
  text: string,
  stream: Pick<NodeJS.WriteStream, 'isTTY'> = process.stderr,
): string {
  const isColoured = stream.isTTY && !process.env['NO_COLOR'] && process.env['TERM'] !== 'dumb'
  return isColoured ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text
}

const PAINT = new RegExp(`(\x1b\\[(?:${[0, ...Object.values(CODES)].join('|')})m)`)

/** As `sanitise`, with the colours of `paint`: text of a guest that a caller forgot to escape can be coloured, no more. */
function sanitisePainted(text: string): string {
  const parts = text.split(PAINT)
  return parts.map((part, at) => (at % 2 === 1 ? part : sanitise(part))).join('')
}

/** Prints the text of a command on stdout. */
export function printText(text: string): void {
  process.stdout.write(`${sanitisePainted(text)}\n`)
}

/** Control characters and bidi marks that JSON does not escape. */
const MOVES_TERMINAL = /[\x7f-\x9f\p{Bidi_Control}\u2028\u2029]/gu
const escaped = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

/** Prints the single document of `--json`. */
export function printJson(value: unknown): void {
  process.stdout.write(`${terminalJson(value, process.stdout.isTTY ? 2 : undefined)}\n`)
}

/** JSON with control and bidi characters escaped, so that it is safe on a terminal at the end of a pipe. */
export function terminalJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(MOVES_TERMINAL, escaped)
}

/** Prints progress on stderr, unless `--quiet`. */
export function note({ quiet, logFormat }: Globals, text: string): void {
  if (quiet) return
  const time = new Date().toISOString()
  const message =
    logFormat === 'json' ? terminalJson({ time, message: text.trim() }) : sanitisePainted(text)
  process.stderr.write(`${message}\n`)
}

/** Aligns columns. Line breaks and escape sequences in cells are removed. */
export function table(rows: readonly (readonly string[])[]): string {
  const safe = rows.map((row) => row.map((cell) => sanitiseLine(cell)))
  const widths = safe[0]!.map((_, column) =>
    Math.max(...safe.map((row) => (row[column] ?? '').length)),
  )
  return safe
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

const USAGE_CODES: ReadonlySet<string> = new Set([
  'USAGE',
  'CONFIG',
  'CONFIG_UNTRUSTED',
  'INVALID',
  'SYNTAX',
])
const failedExitCode = 9

/** Exit code of an error before or without a job; undefined for one whose verb decides. */
function exitCodeOfError(code: string | undefined): number | undefined {
  if (code !== undefined && USAGE_CODES.has(code)) return usageExitCode
  return code === 'SESSION_ENDED' ? notRunExitCode : undefined
}

/** Errors of the state folder come without data, also from the warden. */
const stateFolder: Remedy = { field: 'state' }

/** Prints an error with its hint, and sets the exit code: 2 for usage and configuration, 125 for an ended session, 9 otherwise. */
export function printError(thrown: unknown, json: boolean): void {
  const known = thrown instanceof MayflyError ? thrown : undefined
  process.exitCode = exitCodeOfError(known?.code) ?? failedExitCode
  const remedies = [stateFolder, ...(known?.remedies ?? [])]
  const own = (text: string) => rewordedText('run', text, remedies)
  const error = {
    code: known?.code ?? 'INTERNAL',
    message: own(messageOf(thrown)),
    hint: known?.hint && own(known.hint),
    details: known?.details,
  }
  if (json) return printJson({ error })
  process.stderr.write(`${paint('red', 'mayfly:')} ${sanitiseBlock(error.message)}\n`)
  if (error.hint) process.stderr.write(`  ${paint('dim', sanitiseBlock(error.hint))}\n`)
  if (!known && process.argv.includes('--verbose') && thrown instanceof Error)
    process.stderr.write(`${sanitiseBlock(thrown.stack ?? '')}\n`)
}
