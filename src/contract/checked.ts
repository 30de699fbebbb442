import type * as z from 'zod'
import { MayflyError } from './error.ts'

/** Maximum of issues in a problem: enough to fix a body, without amplifying a small request into a large answer. */
const ISSUES_MAX = 20

/** Says of an unknown field of the body where it belongs; undefined if nowhere. */
type PlaceOf = (field: string) => string | undefined

/** Parses a value of a request by its schema. Throws MayflyError INVALID, which names it as `what`. */
export function checked<T extends z.ZodType>(
  schema: T,
  value: unknown,
  what: string,
  placeOf?: PlaceOf,
): z.output<T> {
  const read = schema.safeParse(value)
  if (read.success) return read.data
  throw invalid(what, read.error, placeOf)
}

/** Error with the issues by path, `ISSUES_MAX` at most; each unknown key is an issue of its own. */
export function invalid(what: string, error: z.ZodError, placeOf?: PlaceOf): MayflyError {
  const issues = error.issues.slice(0, ISSUES_MAX)
  const details = issues.flatMap((issue) => issuesByPath(issue, placeOf)).slice(0, ISSUES_MAX)
  const [first] = details
  const where = first && first.path !== '' ? `"${first.path}": ` : ''
  return new MayflyError(
    'INVALID',
    `Cannot take the ${what}: ${where}${first?.message ?? 'it is invalid'}`,
    { details },
  )
}

function issuesByPath(
  issue: z.core.$ZodIssue,
  placeOf: PlaceOf = () => undefined,
): readonly { readonly path: string; readonly message: string }[] {
  if (issue.code === 'invalid_key')
    return issue.issues.map(({ message }) => ({ path: pathText(issue.path), message }))
  if (issue.code !== 'unrecognized_keys')
    return [{ path: pathText(issue.path), message: plainWords(issue.message) }]
  return issue.keys.slice(0, ISSUES_MAX).map((key) => ({
    path: pathText([...issue.path, key]),
    message: (issue.path.length === 0 && placeOf(key)) || 'unknown field',
  }))
}

/**
 * Words of zod without its prefix, for a person: `Invalid input: expected string, received undefined` becomes
 * `missing: expected string`.
 */
export function plainWords(message: string): string {
  const words = message.replace(/^(?:Invalid \w+|Too \w+): /, '').replace(/, received NaN$/, '')
  const missing = /^(.*), received undefined$/s.exec(words)
  return missing ? `missing: ${missing[1]}` : words
}

function pathText(path: readonly PropertyKey[]): string {
  return path.map(String).join('.').slice(0, 200)
}
