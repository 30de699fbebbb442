import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { TenantLru } from './tenant-lru.ts'

const clock = new SimulatedClock()
const item = (bytes: number) => ({ bytes, at: clock.now() })
const kept = (bytes = 100, age = 1000) => new TenantLru(() => ({ bytes, age }), clock)

test('The least recently used entry is evicted first', () => {
  const cache = kept()
  for (const key of ['a', 'b', 'c']) cache.put('t', key, item(30))
  cache.get('t', 'a')
  cache.put('t', 'd', item(30))
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => cache.get('t', key) !== undefined),
    [true, false, true, true],
  )
})

test('A flooding tenant evicts its own entries only', () => {
  const cache = kept()
  cache.put('quiet', 'a', item(10))
  for (let n = 0; n < 50; n++) cache.put('flood', `k${n}`, item(30))
  assert.ok(cache.get('quiet', 'a'))
  assert.ok(cache.bytes <= 100)
})

test('Keys are separate per tenant', () => {
  const cache = kept()
  cache.put('one', 'a', item(10))
  assert.equal(cache.get('other', 'a'), undefined)
})

test('Expired entries are not returned, and are deleted without being requested', async () => {
  const cache = kept()
  cache.put('t', 'a', item(10))
  cache.put('t', 'b', item(10))
  await clock.run(1000)
  assert.equal(cache.get('t', 'a'), undefined)
  cache.put('t', 'c', item(10))
  assert.equal(cache.bytes, 10)
})

test('An item larger than the capacity is not stored, and evicts nothing', () => {
  const cache = kept()
  cache.put('t', 'a', item(10))
  assert.equal(cache.put('t', 'b', item(101)), false)
  assert.ok(cache.get('t', 'a'))
})

test('Random puts keep the limit, and the byte count is exact', () => {
  const step = fc.record({
    tenant: fc.constantFrom('a', 'b', 'c'),
    key: fc.constantFrom('1', '2', '3', '4'),
    bytes: fc.integer({ min: 0, max: 120 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const cache = kept()
      const known = new Set<string>()
      for (const { tenant, key, bytes } of steps) {
        cache.put(tenant, key, item(bytes))
        known.add(`${tenant} ${key}`)
        assert.ok(cache.bytes <= 100)
      }
      const there = [...known].map((name) => cache.get(name[0]!, name.slice(2))?.bytes ?? 0)
      assert.equal(
        there.reduce((a, b) => a + b, 0),
        cache.bytes,
      )
    }),
  )
})
