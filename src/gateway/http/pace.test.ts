import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../contract/clock.ts'
import { Pace } from './pace.ts'

function paceAt(): { readonly pace: Pace; later(ms: number): void } {
  let now = 1_000
  const clock = { now: () => now } as Clock
  return { pace: new Pace(clock), later: (ms) => void (now += ms) }
}

test('A few refusals are answered at once', () => {
  const { pace } = paceAt()
  assert.deepEqual(
    Array.from({ length: 40 }, () => pace.hold('a')),
    Array(40).fill(0),
  )
})

test('A flood is answered at twenty refusals a second, and nobody is held for more than a second', () => {
  const { pace } = paceAt()
  const held = Array.from({ length: 100 }, () => pace.hold('a'))
  assert.deepEqual(held.slice(40, 43), [50, 100, 150])
  assert.equal(Math.max(...held), 1_000)
})

test('One asker is never held for another, and a pause is forgiven', () => {
  const { pace, later } = paceAt()
  for (let n = 0; n < 100; n++) pace.hold('a')
  assert.equal(pace.hold('b'), 0)
  later(5_000)
  assert.equal(pace.hold('a'), 0)
})
