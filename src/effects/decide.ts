import { patternSeen, type PatternSeen } from '../contract/effect.ts'
import { type Severity, severityOf, type Verdict } from '../contract/verdict.ts'

/** Minimum threat score that is blocked by default. */
export const blockThresholdDefault = 80
/** Scores above this are written to the audit log. */
export const auditAbove = 40

export interface Decision {
  readonly score: number
  /** Severity of the threat score; risk does not count here. */
  readonly severity: Severity
  readonly blocked: boolean
  readonly audited: boolean
  /** Highest score first. */
  readonly patterns: readonly PatternSeen[]
}

/** Decides by the threat score alone, because registered code is granted nothing. */
export function decideRegistration(
  { threatScore, findings }: Pick<Verdict, 'threatScore' | 'findings'>,
  blockThreshold: number = blockThresholdDefault,
): Decision {
  return {
    score: threatScore,
    severity: severityOf(threatScore),
    blocked: threatScore >= blockThreshold,
    audited: threatScore > auditAbove,
    patterns: findings.toSorted((a, b) => b.score - a.score).map(patternSeen),
  }
}
