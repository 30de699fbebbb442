import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Clock } from '../../contract/clock.ts'
import { addressGroup, RateLimit } from './rate-limit.ts'

function handClock(): Clock & { pass(ms: number): void } {
  let now = 0
  return {
    now: () => now,
    date: () => now,
    after: () => ({ cancel: () => undefined }),
    pass: (ms) => void (now += ms),
  }
}

test('A minute of requests may burst, then tokens refill evenly', () => {
  const clock = handClock()
  const rate = new RateLimit(60, clock)
  for (let i = 0; i < 60; i++) assert.equal(rate.take('a'), 0)
  assert.equal(rate.take('a'), 1000)
  clock.pass(400)
  assert.equal(rate.take('a'), 600)
  clock.pass(600)
  assert.equal(rate.take('a'), 0)
  assert.equal(rate.take('a'), 1000)
  assert.equal(rate.take('b'), 0)
})

test('Buckets are bounded to ten thousand names', () => {
  const rate = new RateLimit(1, handClock())
  for (let i = 0; i < 12_000; i++) rate.take(`name ${i}`)
  assert.equal(rate.size, 10_000)
  assert.equal(rate.take('name 0'), 0)
  assert.ok(rate.take('name 11999') > 0)
})

test('IPv6 addresses of one /64 share a bucket, IPv4 addresses do not', () => {
  assert.equal(addressGroup('2001:db8:1:2:3:4:5:6'), addressGroup('2001:db8:1:2:ffff::1'))
  assert.notEqual(addressGroup('2001:db8:1:2::1'), addressGroup('2001:db8:1:3::1'))
  assert.equal(addressGroup('::1'), '0:0:0:0')
  assert.equal(addressGroup('::ffff:10.0.0.1'), '10.0.0.1')
  assert.equal(addressGroup(undefined), 'unknown')
})
