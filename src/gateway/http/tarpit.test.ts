import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../contract/clock.ts'
import { Tarpit } from './tarpit.ts'

function tarpitAt(): { readonly tarpit: Tarpit; later(ms: number): void } {
  let now = 1_000
  const clock = { now: () => now } as Clock
  return { tarpit: new Tarpit(clock), later: (ms) => void (now += ms) }
}

test('A few refusals are answered at once', () => {
  const { tarpit } = tarpitAt()
  assert.deepEqual(
    Array.from({ length: 40 }, () => tarpit.delayMs('a')),
    Array(40).fill(0),
  )
})

test('A flood is answered at twenty refusals a second, delayed by at most a second', () => {
  const { tarpit } = tarpitAt()
  const delays = Array.from({ length: 100 }, () => tarpit.delayMs('a'))
  assert.deepEqual(delays.slice(40, 43), [50, 100, 150])
  assert.equal(Math.max(...delays), 1_000)
})

test('Clients are delayed independently, and a pause resets the delay', () => {
  const { tarpit, later } = tarpitAt()
  for (let n = 0; n < 100; n++) tarpit.delayMs('a')
  assert.equal(tarpit.delayMs('b'), 0)
  later(5_000)
  assert.equal(tarpit.delayMs('a'), 0)
})
