import { parse, TomlError } from 'smol-toml'
import { MayflyError } from '../contract/error.ts'
import { type KeyPath, type Position, positionsOf } from './positions.ts'

const DEPTH_MAX = 64
/** Size limit of a file. */
export const TOML_BYTES_MAX = 2 ** 20

/** An error and its position; `file` and position are absent for values from elsewhere. */
export interface Issue {
  readonly message: string
  /** Key, as `server.port`; empty for invalid TOML. */
  readonly key: string
  /** `mayfly.toml:12:3`, `MAYFLY_PORT`, `--port`. */
  readonly where: string
  readonly file?: string
  readonly line?: number
  readonly column?: number
}

/** A parsed file: its values, and the position of each. */
export interface ParsedToml {
  readonly file: string
  readonly values: Readonly<Record<string, unknown>>
  readonly locate: (path: KeyPath) => Position | undefined
}

/** Parses TOML of at most 1 MiB. Throws CONFIG with file, line and column if it is invalid. */
export function parseToml(text: string, file: string): ParsedToml {
  if (Buffer.byteLength(text) > TOML_BYTES_MAX)
    throw configError([{ message: 'expected at most 1 MiB', key: '', where: file, file }])
  try {
    const values = parse(text, { maxDepth: DEPTH_MAX, unsafeKeyBehaviour: 'throw' })
    if (isDeeper(values, DEPTH_MAX)) throw configError([deepIssue(text, file)])
    return { file, values, locate: positionsOf(text) }
  } catch (cause) {
    if (cause instanceof TomlError) throw configError([tomlIssue(cause, file)], cause)
    throw cause
  }
}

/** True for tables that are deeper by the dots of their keys, which the parser does not count. */
function isDeeper(value: unknown, depthMax: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depthMax === 0 || Object.values(value).some((inner) => isDeeper(inner, depthMax - 1))
}

/** Names the line by its dots: to locate the key, a megabyte of them would take a gigabyte. */
function deepIssue(text: string, file: string): Issue {
  const line = text.split('\n').findIndex((one) => one.split('.').length > DEPTH_MAX) + 1
  const message = `expected at most ${DEPTH_MAX} levels of tables`
  if (line === 0) return { message, key: '', where: file, file }
  return { message, key: '', where: `${file}:${line}`, file, line }
}

/** Combines all issues in one error: the first in its message, all of them in `details.issues`. */
export function configError(issues: readonly [Issue, ...Issue[]], cause?: unknown): MayflyError {
  const [first] = issues
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : ''
  // A variable or a flag is named as what it is.
  const what = /^(?:MAYFLY_|--)/.test(first.where) ? '' : 'the configuration: '
  return new MayflyError('CONFIG', `Cannot use ${what}${first.where}: ${first.message}${more}`, {
    details: { issues },
    ...(issues.length > 1 && { hint: 'Run "mayfly policy check" to list all errors' }),
    cause,
  })
}

function tomlIssue(error: TomlError, file: string): Issue {
  const { line, column } = error
  const message = error.message.split('\n', 1)[0]!.replace(/^Invalid TOML document: /, '')
  return {
    message: `expected TOML: ${message}`,
    key: '',
    where: `${file}:${line}:${column}`,
    file,
    line,
    column,
  }
}
