import type { Language } from '../contract/job.ts'
import type { Analysis, Verdict } from '../contract/verdict.ts'
import { severityOf } from '../contract/verdict.ts'
import type { Inspection } from './inspection.ts'
import { patterns } from './patterns.ts'
import { riskOf, threatScoreOf } from './score.ts'

/**
 * Builds the analysis from an inspection. Scores come from the table here, never from the parsing process,
 * which only names patterns. Assumes no grants.
 */
export function analysisOf(inspection: Inspection, digest: string): Analysis {
  const verdict = verdictOf(inspection, digest)
  if (inspection.syntaxError) return { kind: 'syntax-error', ...inspection.syntaxError, verdict }
  const { javascript, typed, erased, split, cell, badModule } = inspection
  return {
    kind: 'verdict',
    verdict,
    ...(javascript !== undefined && { javascript }),
    ...(typed && { typed }),
    ...(erased && { erased }),
    ...(split && { split }),
    ...(cell && { cell }),
    ...(badModule && { badModule }),
  }
}

/** Languages that analysis parses. */
const readLanguages: ReadonlySet<Language> = new Set(['js', 'ts', 'node'])

function isJudged({ language, found, syntaxError }: Inspection): boolean {
  return (
    readLanguages.has(language) &&
    syntaxError === undefined &&
    !found.some(({ name }) => name === 'UNPARSED')
  )
}

function verdictOf(inspection: Inspection, digest: string): Verdict {
  const { found, language, entry, complexityScore, behaviorScore } = inspection
  const { risk, findings } = riskOf(found, inspection)
  return {
    threatScore: threatScoreOf(found, inspection),
    risk,
    severity: severityOf(risk),
    findings: findings.toSorted((a, b) => b.score - a.score),
    capabilities: [...new Set(found.map(({ name }) => patterns[name].capability))].sort(),
    complexityScore,
    behaviorScore,
    signatureValid: false,
    judged: isJudged(inspection),
    language,
    entry,
    digest,
  }
}
