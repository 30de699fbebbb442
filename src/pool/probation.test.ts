import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { Probation, type ProbationSlot } from './probation.ts'

const { signal } = new AbortController()
const settled = () => new Promise((resolve) => void setImmediate(resolve))

function stand(places = 1) {
  const clock = new SimulatedClock()
  const probation = new Probation({ clock, places, waitMsMax: 20_000 })
  const entered: string[] = []
  const held: ProbationSlot[] = []
  const enter = (tenant: string, by = signal, code?: string) => {
    const place = probation.enter(tenant, by, code)
    place.then(
      (one) => held.push(one) && entered.push(code ? `${tenant} ${code}` : tenant),
      (error: Error & { code?: unknown }) =>
        entered.push(`${tenant} ${error.name === 'AbortError' ? error.name : String(error.code)}`),
    )
  }
  const fail = (tenant: string, ends = 3, code?: string) => {
    for (let n = 0; n < ends; n++) probation.note(tenant, 'timeout', code)
  }
  const pass = (ms: number) => clock.run(clock.now() + ms)
  return { clock, probation, entered, held, enter, fail, pass }
}

test('A tenant after three forced ends shares slots with other tenants on probation, round-robin', async () => {
  const { entered, held, enter, fail, pass } = stand()
  for (const tenant of ['a', 'b']) fail(tenant)
  enter('good')
  for (const tenant of ['a', 'a', 'a', 'b']) enter(tenant)
  await settled()
  assert.deepEqual(entered, ['good', 'a'])
  for (let n = 1; n < 4; n++) {
    held.at(-1)!.release()
    enter('good')
    await settled()
    assert.equal(entered.filter((tenant) => tenant === 'good').length, n + 1)
    await pass(2_000)
    assert.equal(entered.filter((tenant) => tenant !== 'good').length, n + 1)
  }
  assert.deepEqual(
    entered.filter((tenant) => tenant !== 'good'),
    ['a', 'a', 'b', 'a'],
  )
})

test('Two forced ends, or voluntary ends, put no tenant on probation', async () => {
  const { probation, entered, enter, fail } = stand()
  fail('a', 2)
  for (const status of ['ok', 'error', 'cancelled', 'failed', 'refused'] as const)
    for (let n = 0; n < 5; n++) probation.note('b', status)
  enter('good')
  for (const tenant of ['a', 'a', 'b', 'b']) enter(tenant)
  await settled()
  assert.deepEqual(entered, ['good', 'a', 'a', 'b', 'b'])
})

test('Tenants on probation wait only while others are served, and continue once those are gone', async () => {
  const { entered, enter, fail, pass } = stand()
  fail('a')
  for (let n = 0; n < 3; n++) enter('a')
  await settled()
  assert.deepEqual(entered, ['a', 'a', 'a'])
  enter('good')
  enter('a')
  await pass(3_000)
  assert.deepEqual(entered, ['a', 'a', 'a', 'good'])
  await pass(3_000)
  assert.deepEqual(entered, ['a', 'a', 'a', 'good', 'a'])
})

test('Code that was ended by force twice in a row waits by itself, until it ends otherwise or ten minutes have passed', async () => {
  const { clock, probation, entered, held, enter, fail, pass } = stand()
  fail('a', 2, 'loop')
  fail('b', 1, 'slow')
  probation.note('b', 'ok', 'slow')
  fail('b', 1, 'slow')
  enter('good')
  for (const [tenant, code] of [
    ['a', 'loop'],
    ['a', 'loop'],
    ['a', 'other'],
    ['b', 'loop'],
    ['b', 'slow'],
  ] as const)
    enter(tenant, signal, code)
  await settled()
  assert.deepEqual(entered, ['good', 'a loop', 'a other', 'b loop', 'b slow'])
  held.find((_, n) => entered[n] === 'a loop')!.release()
  probation.note('a', 'ok', 'loop')
  await pass(1_001)
  assert.equal(entered.at(-1), 'a loop', 'the second had its turn')
  enter('good')
  enter('a', signal, 'loop')
  await settled()
  assert.equal(entered.at(-1), 'a loop', 'it ended well since')
  fail('a', 2, 'loop')
  await clock.run(clock.now() + 600_001)
  enter('good')
  enter('a', signal, 'loop')
  await settled()
  assert.deepEqual(entered.slice(-2), ['good', 'a loop'], 'its ends are forgotten')
})

test('A slot that was taken while nobody else was served is given back once others are, while too many are held', async () => {
  const { entered, held, enter, fail, pass } = stand()
  fail('a')
  for (let n = 0; n < 3; n++) enter('a')
  await settled()
  assert.deepEqual(
    held.map((slot) => slot.yield()),
    [false, false, false],
    'nobody else is served',
  )
  enter('good')
  await settled()
  assert.deepEqual(
    held.map((slot) => slot.yield()),
    [true, true, false, false],
    'one place is left to them',
  )
  held[0]!.release()
  enter('a')
  await pass(1_001)
  assert.deepEqual(entered, ['a', 'a', 'a', 'good'], 'what was given back is not freed again')
  held[2]!.release()
  enter('good')
  await pass(1_001)
  assert.equal(entered.at(-1), 'a')
})

test('A job that was cancelled before it enters neither waits nor takes a slot', async () => {
  const { probation, entered, held, enter, fail, pass } = stand()
  fail('a')
  enter('good')
  enter('a')
  await settled()
  enter('a', AbortSignal.abort())
  await settled()
  assert.deepEqual(entered, ['good', 'a', 'a AbortError'])
  assert.equal(probation.waiting, 0)
  held.at(-1)!.release()
  await pass(1_000)
  enter('a', AbortSignal.abort())
  enter('a')
  await settled()
  assert.deepEqual(entered.slice(3), ['a AbortError', 'a'])
})

test('A slot is free again one second after its job ended', async () => {
  const { entered, held, enter, fail, pass } = stand()
  fail('a')
  enter('good')
  enter('a')
  await settled()
  held.at(-1)!.release()
  held.at(-1)!.release()
  enter('a')
  enter('a')
  await pass(900)
  assert.equal(entered.length, 2)
  await pass(200)
  assert.equal(entered.length, 3, 'a place that is released twice is one place')
})

test('A tenant is in good standing again a while after its last forced end', async () => {
  const { entered, enter, fail, pass } = stand()
  fail('a', 100)
  await pass(30_000)
  enter('good')
  enter('a')
  enter('a')
  await settled()
  assert.deepEqual(entered, ['good', 'a'])
  await pass(20_000)
  entered.length = 0
  enter('good')
  enter('a')
  enter('a')
  await settled()
  assert.deepEqual(entered, ['good', 'a', 'a'])
})

test('A job that waits too long is refused with a retry time, and one can be cancelled', async () => {
  const { probation, entered, enter, fail, pass } = stand()
  fail('a')
  enter('good')
  enter('a')
  enter('a')
  const aborter = new AbortController()
  enter('a', aborter.signal)
  assert.equal(probation.waiting, 2)
  aborter.abort()
  for (let n = 0; n < 5; n++) {
    enter('good')
    await pass(4_100)
  }
  assert.deepEqual(
    entered.filter((tenant) => tenant !== 'good'),
    ['a', 'a AbortError', 'a RATE_LIMITED'],
  )
  assert.equal(probation.waiting, 0)
})

test('The number of scored tenants is bounded: the one that failed longest ago is dropped', async () => {
  const { entered, enter, fail } = stand()
  for (let n = 0; n <= 10_000; n++) fail(`t${n}`)
  enter('t0')
  enter('t1')
  enter('t1')
  await settled()
  assert.deepEqual(entered, ['t0', 't1'])
})
