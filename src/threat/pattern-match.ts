import * as z from 'zod'
import { patternNames, type PatternName } from '../contract/verdict.ts'

export const position = z.number().int().min(1)

/** A pattern in a source: count and first position, before grants are known. Read from a parsing process. */
export const patternMatchSchema = z
  .strictObject({
    name: z.enum(patternNames),
    line: position,
    column: position,
    count: z.number().int().min(1),
    /** Position or subject, appended to the pattern's description. */
    detail: z.string().max(300).exactOptional(),
  })
  .readonly()
export type PatternMatch = z.infer<typeof patternMatchSchema>

/** Merges findings by pattern: total count, and the first position, in the job's own source if it has one. */
export function mergeMatches(all: readonly PatternMatch[]): PatternMatch[] {
  const byName = new Map<PatternName, PatternMatch>()
  for (const found of all) {
    const other = byName.get(found.name)
    const first = other && !isBefore(found, other) ? other : found
    byName.set(found.name, { ...first, count: found.count + (other?.count ?? 0) })
  }
  return [...byName.values()]
}

function isBefore(a: PatternMatch, b: PatternMatch): boolean {
  if (a.detail !== b.detail) return a.detail === undefined
  return a.line < b.line || (a.line === b.line && a.column < b.column)
}
