import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { anomalyNames, anomalySeverities } from '../contract/anomaly.ts'
import { bands, withAnomaly, behaviorScoreOf, noAnomalies } from './behavior-score.ts'

const severity = fc.constantFrom(...anomalySeverities)
const any = fc.record({ name: fc.constantFrom(...anomalyNames), severity })
const alike = fc.record({ name: fc.constantFrom('beaconing', 'cpu-shape'), severity })
/** Anomalies of all kinds, or of few, so that many repeat. */
const story = fc.oneof(fc.array(any, { maxLength: 200 }), fc.array(alike, { maxLength: 40 }))

test('S3-40: a further anomaly never lowers the score, which stays between 0 and 100', () => {
  let rises = 0
  fc.assert(
    fc.property(story, (told) => {
      let [behavior, before] = [noAnomalies, 0]
      for (const anomaly of told) {
        behavior = withAnomaly(behavior, anomaly)
        const score = behaviorScoreOf(behavior)
        assert.ok(score >= before && score <= 100 && Number.isInteger(score))
        if (score > before) rises++
        before = score
      }
    }),
    { numRuns: 1000 },
  )
  assert.ok(rises > 0)
})

test('The order of anomalies does not change the score', () => {
  const twice = story.chain((told) =>
    fc.tuple(
      fc.constant(told),
      fc.shuffledSubarray(told, { minLength: told.length, maxLength: told.length }),
    ),
  )
  fc.assert(
    fc.property(twice, ([told, shuffled]) => {
      const scores = [told, shuffled].map((all) =>
        behaviorScoreOf(all.reduce(withAnomaly, noAnomalies)),
      )
      assert.equal(scores[0], scores[1])
    }),
    { numRuns: 1000 },
  )
})

test('The score is in the range of the worst anomaly', () => {
  fc.assert(
    fc.property(story, (told) => {
      const severities = new Set(told.map(({ severity }) => severity))
      const worst = anomalySeverities.findLast((severity) => severities.has(severity))
      const score = behaviorScoreOf(told.reduce(withAnomaly, noAnomalies))
      const { from, to } = worst ? bands[worst] : { from: 0, to: 0 }
      assert.ok(score >= from && score <= to, `${score}`)
    }),
    { numRuns: 1000 },
  )
})
