import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoopLimiter } from './loop-limiter.ts'

/** A clock that advances only by work and waits, and the total waited. */
function clocked(counted: (tookMs: number) => number = (tookMs) => tookMs) {
  const clock = { now: 0, waited: 0 }
  const turns = new LoopLimiter({
    now: () => clock.now,
    counted,
    wait: (ms) => {
      clock.now += ms
      clock.waited += ms
      return Promise.resolve()
    },
  })
  return { clock, turns, work: (ms: number) => () => void (clock.now += ms) }
}
const wanted = () => true

test('Small work never waits; larger work gets a tenth of the time', async () => {
  const { clock, turns, work } = clocked()
  for (let n = 0; n < 20; n++) await turns.run(work(2), wanted)
  assert.equal(clock.waited, 0)

  const began = clock.now
  let worked = 0
  for (; clock.now - began < 60_000; worked += 2) await turns.run(work(2), wanted)
  assert.ok(worked > 5_900 && worked < 6_100, `${worked} ms of a minute`)
  clock.now += 10_000
  const { waited } = clock
  for (let n = 0; n < 20; n++) await turns.run(work(2), wanted)
  assert.equal(clock.waited, waited, 'what was not used for a while may be')
})

test('Unmeasurably short work is charged too: at most a hundred runs a second', async () => {
  const { clock, turns, work } = clocked((tookMs) => Math.max(1, tookMs))
  let done = 0
  for (; clock.now < 60_000; done++) await turns.run(work(0), wanted)
  assert.ok(done > 5_900 && done < 6_200, `${done} in a minute`)
})

test('Ticks queued by the work are charged to it', async () => {
  const { clock, turns, work } = clocked()
  await turns.run(() => process.nextTick(work(1_000)), wanted)
  await turns.run(work(0), wanted)
  assert.ok(clock.waited > 0, `${clock.waited} ms waited`)
})

test('Work runs serially, in the order of requests, also after a failure', async () => {
  const { turns } = clocked()
  const done: number[] = []
  const fail = () => {
    throw new Error('it fails')
  }
  const all = await Promise.allSettled([
    turns.run(() => done.push(1), wanted),
    turns.run(fail, wanted),
    turns.run(() => done.push(3), wanted),
  ])
  assert.deepEqual(
    all.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(done, [1, 3])
})

test('Work that is no longer wanted is skipped, without a wait for later work', async () => {
  const { clock, turns, work } = clocked()
  await turns.run(work(1_000), wanted)
  let isDone = false
  assert.equal(
    await turns.run(
      () => (isDone = true),
      () => false,
    ),
    undefined,
  )
  assert.deepEqual([isDone, clock.waited], [false, 0])
  let isWanted = true
  clock.waited = 0
  const late = turns.run(
    () => (isDone = true),
    () => isWanted,
  )
  isWanted = false
  assert.equal(await late, undefined)
  assert.equal(isDone, false)
})

test('By default one millisecond at a time is free, at any frequency', async () => {
  const clock = { now: 0, waited: 0 }
  const wait = (ms: number) => {
    clock.now += ms
    clock.waited += ms
    return Promise.resolve()
  }
  const turns = new LoopLimiter({ now: () => clock.now, wait })
  for (let n = 0; n < 10_000; n++) await turns.run(() => void (clock.now += 0.8), wanted)
  assert.equal(clock.waited, 0)
  for (let n = 0; n < 10; n++) await turns.run(() => void (clock.now += 41), wanted)
  assert.ok(clock.waited > 2_500, `${clock.waited} ms`)
})
