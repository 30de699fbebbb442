import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sparesReadings } from './spares.ts'

test('S4-55: Idle spares of each pool, their memory and their hit rate are metrics', () => {
  const one = { key: 'bubblewrap/node', idle: 2, hits: 9, misses: 1, bytes: 1000 }
  const [spares, memory, claims] = sparesReadings([one])
  assert.deepEqual(spares?.series, [{ labels: { pool: one.key }, value: 2 }])
  assert.deepEqual(memory?.series, [{ labels: { pool: one.key }, value: 1000 }])
  assert.deepEqual(claims?.series, [
    { labels: { pool: one.key, outcome: 'hit' }, value: 9 },
    { labels: { pool: one.key, outcome: 'miss' }, value: 1 },
  ])
})
