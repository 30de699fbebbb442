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

test('neither score ever falls when a finding is added or complexity or behaviour rises', () => {
  fc.assert(
    fc.property(
      someFound,
      somePlain,
      oneFound,
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
    }),
  )
})
