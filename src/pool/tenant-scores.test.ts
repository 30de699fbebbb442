import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { TenantScores } from './tenant-scores.ts'

test('A score grows by one, to eight at most, and halves every 30 seconds', async () => {
  const clock = new SimulatedClock()
  const scores = new TenantScores(clock)
  assert.equal(scores.of('a'), 0)
  for (let n = 1; n <= 20; n++) {
    scores.add('a')
    assert.equal(scores.of('a'), Math.min(n, 8))
  }
  await clock.run(30_000)
  assert.equal(scores.of('a'), 4)
  scores.add('a')
  assert.deepEqual([scores.of('a'), scores.of('b')], [5, 0])
})

test('Scores are kept for the ten thousand tenants that were scored last', () => {
  const scores = new TenantScores(new SimulatedClock())
  for (const tenant of ['first', 'second', 'first']) scores.add(tenant)
  for (let n = 0; n < 9_999; n++) scores.add(`t${n}`)
  assert.deepEqual([scores.of('first'), scores.of('second'), scores.of('t0')], [2, 0, 1])
})
