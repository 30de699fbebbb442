import type { PatternSeen } from '../contract/effect.ts'
import { type Severity, severityOf, type Verdict } from '../contract/verdict.ts'

/** From this threat score on code is blocked, unless another threshold is given. */
export const blockThresholdDefault = 80
/** What scores more than this is written down. */
export const auditAbove = 40

export interface Decision {
  readonly score: number
  /** Of the threat score, whatever the risk. */
  readonly severity: Severity
  readonly blocked: boolean
  readonly audited: boolean
  /** The gravest first. */
  readonly patterns: readonly PatternSeen[]
}

/** At a door that grants code nothing, its threat score decides alone. */
export function decide(
  { threatScore, findings }: Pick<Verdict, 'threatScore' | 'findings'>,
  blockThreshold: number = blockThresholdDefault,
): Decision {
  return {
    score: threatScore,
    severity: severityOf(threatScore),
    blocked: threatScore >= blockThreshold,
    audited: threatScore > auditAbove,
    patterns: findings
      .toSorted((a, b) => b.score - a.score)
      .map(({ name, description, severity, line, column }) => ({
        name,
        description,
        severity,
        line,
        column,
      })),
  }
}
