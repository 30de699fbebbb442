import { systemClock } from '../../src/contract/clock.ts'
import type { Job } from '../../src/contract/job.ts'
import { type Finding, severityOf } from '../../src/contract/verdict.ts'
import { type EffectAudit, createEffects, type Effects } from '../../src/effects/effects.ts'
import { openEffectStore } from '../../src/effects/store.ts'
import { makePlan } from '../../src/profile/make-profile.ts'
import { configOf, leastFacts, verdictOf } from '../fixtures/profile-world.ts'

/** The effects module with a stub analysis, which takes the threat score from the first comment of the code. */
export interface EffectsRoom {
  readonly effects: Effects
  /** Jobs that were analysed. */
  readonly analysed: Job[]
  readonly audited: EffectAudit[]
}

export function effectsRoom(): EffectsRoom {
  const analysed: Job[] = []
  const audited: EffectAudit[] = []
  const store = openEffectStore(':memory:')
  const effects = createEffects({
    store: () => store,
    clock: systemClock,
    async analyse(job) {
      analysed.push(job)
      const { code, language = 'js' } = job.asked
      const verdict = verdictOf(0, { ...scored(code), language })
      if (!code.includes('(;')) return { kind: 'verdict', verdict }
      return { kind: 'syntax-error', message: 'Unexpected token', line: 1, column: 2, verdict }
    },
    plan: (job, verdict) => makePlan(job, verdict, { config: configOf(), facts: leastFacts }),
    audit: (_, facts) => void audited.push(facts),
  })
  return { effects, analysed, audited }
}

function scored(code: string): { readonly threatScore: number; readonly findings: Finding[] } {
  const threatScore = Number(/^\/\* (\d+) \*\//.exec(code)?.[1] ?? 0)
  if (threatScore < 40) return { threatScore, findings: [] }
  const finding: Finding = {
    name: 'PROCESS_ACCESS',
    severity: severityOf(threatScore),
    score: threatScore,
    line: 3,
    column: 9,
    description: 'Process manipulation attempt',
    kind: 'need',
    because: 'a test says so',
    count: 1,
  }
  return { threatScore, findings: [finding] }
}
