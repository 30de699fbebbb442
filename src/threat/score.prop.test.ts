import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { patternNames, type PatternName } from '../contract/verdict.ts'
import type { PatternMatch } from './pattern-match.ts'
import { riskOf, threatScoreOf } from './score.ts'

const found = (name: PatternName): PatternMatch => ({ name, line: 1, column: 1, count: 1 })
const oneFound = fc.constantFrom(...patternNames).map(found)
const someFound = fc.array(oneFound, { maxLength: 14 })
const somePlain = fc.record({
  complexityScore: fc.integer({ min: 0, max: 10_000 }),
  behaviorScore: fc.integer({ min: 0, max: 100 }),
})

type Change = (
  all: readonly PatternMatch[],
  plain: { readonly complexityScore: number; readonly behaviorScore: number },
) => readonly [readonly PatternMatch[], typeof plain]
const worse: readonly (readonly [string, fc.Arbitrary<Change>])[] = [
  ['a finding is added', oneFound.map((one) => (all, plain) => [[...all, one], plain])],
  [
    'complexity rises',
    fc
      .nat(1000)
      .map((by) => (all, plain) => [
        all,
        { ...plain, complexityScore: plain.complexityScore + by },
      ]),
  ],
  [
    'behaviour gets worse',
    fc
      .nat(100)
      .map((by) => (all, plain) => [all, { ...plain, behaviorScore: plain.behaviorScore + by }]),
  ],
]

for (const [title, change] of worse)
  test(`S1-24: neither score falls when ${title}, and nothing else changes`, () => {
    let [raised, riskier] = [0, 0]
    fc.assert(
      fc.property(someFound, somePlain, change, (all, plain, changed) => {
        const after = changed(all, plain)
        if (threatScoreOf(...after) > threatScoreOf(all, plain)) raised++
        assert.ok(threatScoreOf(...after) >= threatScoreOf(all, plain))
        const rose = riskOf(...after).risk - riskOf(all, plain).risk
        assert.ok(rose >= 0)
        riskier += rose
      }),
      { numRuns: 2000 },
    )
    // A score that is always the same would pass too.
    assert.ok(raised > 0 && riskier > 0)
  })

test('each finding raises both scores of code without one', () => {
  const plain = { complexityScore: 0, behaviorScore: 0 }
  for (const name of patternNames) {
    assert.ok(threatScoreOf([found(name)], plain) > threatScoreOf([], plain), name)
  }
  assert.ok(patternNames.some((name) => riskOf([found(name)], plain).risk > riskOf([], plain).risk))
})

test('both scores are whole numbers from 0 to 100, and risk is never above threat', () => {
  fc.assert(
    fc.property(someFound, somePlain, (all, base) => {
      const [threat, choice] = [threatScoreOf(all, base), riskOf(all, base).risk]
      assert.ok(Number.isInteger(threat) && Number.isInteger(choice))
      assert.ok(choice >= 0 && choice <= threat && threat <= 100)
    }),
  )
})
