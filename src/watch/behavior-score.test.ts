import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Anomaly, anomalyNames } from '../contract/anomaly.ts'
import { severityOf } from '../contract/verdict.ts'
import { withAnomaly, behaviorScoreOf, noAnomalies } from './behavior-score.ts'

type SeenAnomaly = Pick<Anomaly, 'name' | 'severity'>
const scoreOf = (...told: readonly SeenAnomaly[]) =>
  behaviorScoreOf(told.reduce(withAnomaly, noAnomalies))

const low: SeenAnomaly = { name: 'output-growth', severity: 'low' }
const medium: SeenAnomaly = { name: 'unforeseen-access', severity: 'medium' }
const high: SeenAnomaly = { name: 'sensitive-data', severity: 'high' }

test('S3-40: a life without anomalies scores 0, and each severity has its own range', () => {
  assert.deepEqual([scoreOf(), scoreOf(low), scoreOf(medium), scoreOf(high)], [0, 10, 40, 70])
  assert.deepEqual([scoreOf(low), scoreOf(medium), scoreOf(high)].map(severityOf), [
    'low',
    'medium',
    'high',
  ])
})

test('Further anomalies add to the score, those of another detector more than repetitions', () => {
  assert.equal(scoreOf(high, low), 72)
  assert.equal(scoreOf(high, medium), 75)
  assert.equal(scoreOf(high, high), 75)
  assert.equal(scoreOf(high, { ...high, name: 'beaconing' }), 80)
})

test('Repeated low anomalies never reach medium, nor medium ones high', () => {
  const often = (told: SeenAnomaly) =>
    scoreOf(
      ...anomalyNames.flatMap((name) => Array.from({ length: 500 }, () => ({ ...told, name }))),
    )
  assert.ok(often(low) < scoreOf(medium))
  assert.ok(often(medium) < scoreOf(high))
  assert.equal(often(high), 100)
})
