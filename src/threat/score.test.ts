import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configSchema } from '../contract/config.ts'
import { patternNames, type PatternName } from '../contract/verdict.ts'
import type { PatternMatch } from './pattern-match.ts'
import { plainScoreMax } from '../contract/verdict.ts'
import { riskOf, threatScoreOf } from './score.ts'

const plain = { complexityScore: 1, behaviorScore: 0 }
const found = (name: PatternName): PatternMatch => ({ name, line: 1, column: 1, count: 1 })
const risk = (name: PatternName) => riskOf([found(name)], plain)

test('the threat score is the highest score of a pattern', () => {
  assert.equal(threatScoreOf([found('TIMING_ATTACK'), found('NETWORK')], plain), 75)
  assert.equal(threatScoreOf([], plain), 0)
})

test('without a pattern the score stays below 40, however complex the code', () => {
  assert.equal(threatScoreOf([], { complexityScore: 1e9, behaviorScore: 100 }), plainScoreMax)
  assert.equal(plainScoreMax, 39)
})

test('S1-10: complexity alone raises risk to the first step of restraint', () => {
  const risks = [1, 50, 1000].map(
    (complexityScore) => riskOf([], { complexityScore, behaviorScore: 0 }).risk,
  )
  assert.deepEqual(risks, [0, 11, 20])
  const steps = configSchema.parse({}).restraint.map(({ at }) => at)
  assert.equal(Math.min(...steps), 20)
})

test('risk counts only findings that no grant makes harmless', () => {
  const counted = patternNames.filter((name) => risk(name).risk > 0)
  assert.deepEqual(counted, [
    'VM_ESCAPE',
    'CRYPTOMINING',
    'OBFUSCATION',
    'UNPARSED',
    'UNREAD_DEPENDENCY',
  ])
  assert.deepEqual(
    counted.map((name) => risk(name).risk),
    [100, 95, 60, 90, 60],
  )
})

test('each finding is marked as a need or a threat, with the reason', () => {
  for (const name of patternNames) {
    const [finding] = risk(name).findings
    assert.equal(finding?.kind, risk(name).risk > 0 ? 'threat' : 'need')
    assert.ok(finding.because.length > 10)
  }
})
