import { plainScoreMax, type Finding, type PatternName } from '../contract/verdict.ts'
import type { Inspection } from './inspection.ts'
import type { PatternMatch } from './pattern-match.ts'
import { patterns } from './patterns.ts'

/**
 * Highest pattern score; without a pattern at most 39, from the two other scores. Monotonic in findings and
 * scores.
 */
export function threatScoreOf(
  found: readonly Pick<PatternMatch, 'name'>[],
  plain: PlainScores,
): number {
  return found.reduce((score, { name }) => Math.max(score, patterns[name].score), plainScore(plain))
}

type PlainScores = Pick<Inspection, 'complexityScore' | 'behaviorScore'>

/**
 * Risk, which selects the wall: counts only findings that no grant and no wall makes harmless. `findings` lists each
 * as need or threat, with the reason.
 */
export function riskOf(
  found: readonly PatternMatch[],
  plain: PlainScores,
): { readonly risk: number; readonly findings: readonly Finding[] } {
  const findings = found.map(findingOf)
  const risk = findings.reduce(
    (most, { kind, score }) => (kind === 'threat' ? Math.max(most, score) : most),
    plainScore(plain),
  )
  return { risk, findings }
}

/** Weighted sum: 20 points from complexity, which saturates slowly, the rest from behaviour. */
function plainScore({ complexityScore, behaviorScore }: PlainScores): number {
  const complexity = 20 * (1 - Math.exp(-Math.max(0, complexityScore - 1) / 60))
  const behavior = 0.5 * Math.max(0, behaviorScore)
  return Math.min(plainScoreMax, Math.round(complexity + behavior))
}

const counts: Partial<Record<PatternName, string>> = {
  VM_ESCAPE: 'Nothing grants a way out of the sandbox',
  CRYPTOMINING: 'Nothing grants mining',
  OBFUSCATION: 'Code that hides what it does is not taken at its word',
  UNPARSED: 'Code that cannot be analysed is not taken for safe',
  UNREAD_DEPENDENCY: 'Code of a package that analysis cannot clear is not taken for safe',
}

const contained: Partial<Record<PatternName, string>> = {
  EVAL: 'Each job has a realm of its own, and code made there is as confined as its maker',
  BUFFER_OVERFLOW: "The job's memory limit contains it",
  TIMING_ATTACK: 'No wall is shared between tenants, and the clock is coarse',
  PROTOTYPE_POLLUTION: 'Each job has a realm of its own',
}

function findingOf(found: PatternMatch): Finding {
  const { score, severity, description, capability } = patterns[found.name]
  const threat = counts[found.name]
  const absent = `Not there unless the language or the profile gives "${capability}"; reaching for it is an event`
  return {
    name: found.name,
    severity,
    score,
    line: found.line,
    column: found.column,
    description: (found.detail ? `${description}: ${found.detail}` : description).slice(0, 500),
    kind: threat ? 'threat' : 'need',
    because: threat ?? contained[found.name] ?? absent,
    count: found.count,
  }
}
