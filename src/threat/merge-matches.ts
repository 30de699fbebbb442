import type { PatternName } from '../contract/verdict.ts'
import type { PatternMatch } from './pattern-match.ts'

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
