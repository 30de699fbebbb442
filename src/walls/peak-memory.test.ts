import assert from 'node:assert/strict'
import { test } from 'node:test'
import { execMemory, peakMemory } from './peak-memory.ts'

const idleBytes = 100

test('The peak is the highest of sample and report, within the limit, and absolute with the idle wall', () => {
  const peakOf = (sampled: number, reported = {}, limit = 1000) => {
    const { peak, absolute } = peakMemory({ peakBytes: sampled, idleBytes }, reported, limit).memory
    return [peak, absolute]
  }
  assert.deepEqual(peakOf(0, { peakBytes: 30 }), [30, 130])
  assert.deepEqual(peakOf(150, { peakBytes: 30 }), [50, 150])
  assert.deepEqual(peakOf(0, { peakBytes: 1, childPeakBytes: 400 }), [400, 500])
  assert.deepEqual(peakOf(0, { peakBytes: 5000 }), [1000, 1100])
  assert.deepEqual(peakOf(1300, { peakBytes: 5000 }), [1200, 1300])
  assert.deepEqual(peakOf(0), [0, 100])
})

test('An exec whose guest reports no peak has none', () => {
  assert.deepEqual(execMemory({}, 10), {})
  assert.deepEqual(execMemory({ peakBytes: 50 }, 10), { memory: { used: 10, peak: 10 } })
})
