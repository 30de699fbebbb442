import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { patternNames, severityOf, type PatternName } from '../contract/verdict.ts'
import type { Found } from './patterns.ts'
import { plainScoreMax, riskOf, threatScoreOf } from './score.ts'

const plain = { complexityScore: 1, behaviorScore: 0 }
const found = (name: PatternName): Found => ({ name, line: 1, column: 1, count: 1 })
const risk = (name: PatternName) => riskOf([found(name)], plain)

test('the threat score is the highest score of a pattern', () => {
  assert.equal(threatScoreOf([found('TIMING_ATTACK'), found('NETWORK')], plain), 75)
  assert.equal(threatScoreOf([], plain), 0)
})

test('without a pattern the score stays below 40, however complex the code', () => {
  assert.equal(threatScoreOf([], { complexityScore: 1e9, behaviorScore: 100 }), plainScoreMax)
  assert.equal(plainScoreMax, 39)
})

test('risk counts what no grant makes harmless, and nothing else', () => {
  const counted = patternNames.filter((name) => risk(name).risk > 0)
  assert.deepEqual(counted, ['VM_ESCAPE', 'CRYPTOMINING', 'OBFUSCATION', 'UNPARSED'])
  assert.deepEqual(
    counted.map((name) => risk(name).risk),
    [100, 95, 60, 90],
  )
})

test('each finding says whether it is a need or a threat, and why', () => {
  for (const name of patternNames) {
    const [finding] = risk(name).findings
    assert.equal(finding?.kind, risk(name).risk > 0 ? 'threat' : 'need')
    assert.ok(finding.because.length > 10)
  }
  const granted = riskOf([found('NETWORK')], plain, { granted: new Set(['network']) })
  assert.equal(granted.findings[0]?.because, 'The profile grants "network"')
})

const someFound = fc.array(fc.constantFrom(...patternNames).map(found), { maxLength: 14 })
const somePlain = fc.record({
  complexityScore: fc.integer({ min: 0, max: 10_000 }),
  behaviorScore: fc.integer({ min: 0, max: 100 }),
})

test('neither score ever falls when a finding is added or complexity or behaviour rises', () => {
  fc.assert(
    fc.property(
      someFound,
      somePlain,
      oneFound(),
      fc.nat(1000),
      fc.nat(100),
      (all, base, one, c, b) => {
        const worse = {
          complexityScore: base.complexityScore + c,
          behaviorScore: base.behaviorScore + b,
        }
        assert.ok(threatScoreOf([...all, one], worse) >= threatScoreOf(all, base))
        assert.ok(riskOf([...all, one], worse).risk >= riskOf(all, base).risk)
      },
    ),
  )
})

test('both scores are whole numbers from 0 to 100, and risk is never above threat', () => {
  fc.assert(
    fc.property(someFound, somePlain, (all, base) => {
      const [threat, choice] = [threatScoreOf(all, base), riskOf(all, base).risk]
      assert.ok(Number.isInteger(threat) && Number.isInteger(choice))
      assert.ok(choice >= 0 && choice <= threat && threat <= 100)
      severityOf(choice)
    }),
  )
})

function oneFound() {
  return fc.constantFrom(...patternNames).map(found)
}
