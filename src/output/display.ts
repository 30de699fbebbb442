import type { DisplayItem } from '../contract/outcome.ts'
import type { OutcomeError } from '../contract/outcome-error.ts'
import type { TaskEnd } from '../contract/provider.ts'

/** Limits of rich output: items, and UTF-16 units of one text and of all. */
export const displayMax = { items: 64, textUnits: 262_144, allUnits: 1_048_576 } as const
/** RFC 6838: type and subtype as restricted names, lower case, without parameters. */
const MIME_TYPE = /^[a-z][a-z0-9-]{0,31}\/[a-z0-9][a-z0-9.+-]{0,95}$/

/** Reason why rich output may not leave; undefined if it may. All of it comes from the guest. */
export function displayProblem({
  display = [],
  artifacts,
}: Pick<TaskEnd, 'display' | 'artifacts'>): OutcomeError | undefined {
  if (display.length > displayMax.items) return tooMuch(`more than ${displayMax.items} forms`)
  const units = display.map(({ text = '' }) => text.length)
  if (units.some((one) => one > displayMax.textUnits))
    return tooMuch(`a text of more than ${displayMax.textUnits} characters`)
  if (units.reduce((sum, one) => sum + one, 0) > displayMax.allUnits)
    return tooMuch(`texts of more than ${displayMax.allUnits} characters together`)
  if (display.some(({ type }) => !MIME_TYPE.test(type)))
    return invalid('one has a type that is no MIME type')
  const paths = new Set(artifacts.map(({ path }) => path))
  if (display.some(({ path }) => path !== undefined && !paths.has(path)))
    return invalid('one names an artifact that is not there')
  return undefined
}

/** Rich output for the outcome: well-formed texts and artifact paths. */
export function describeDisplay({ display = [] }: Pick<TaskEnd, 'display'>): DisplayItem[] {
  return display.map(({ type, path, text = '' }) =>
    path === undefined ? { type, text: text.toWellFormed() } : { type, path },
  )
}

function tooMuch(what: string): OutcomeError {
  return { code: 'DISPLAY_TOO_LARGE', message: `The job shows ${what}` }
}

function invalid(why: string): OutcomeError {
  return { code: 'DISPLAY_INVALID', message: `Cannot pass on what the job shows: ${why}` }
}
