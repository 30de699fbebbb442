import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClock, expiryDate } from './clock.ts'

const anHourMs = 3_600_000

test('A clock that is set back extends no deadline, and one that is set forward and corrected is used', () => {
  const played = { at: 0, wall: 1_000_000 }
  const date = expiryDate({ now: () => played.at, date: () => played.wall })
  assert.equal(date(), 1_000_000)
  Object.assign(played, { at: 500, wall: 1_000_500 - anHourMs })
  assert.equal(date(), 1_000_500)
  played.wall = 1_000_500 + anHourMs
  assert.equal(date(), 1_000_500 + anHourMs)
  Object.assign(played, { at: 700, wall: 1_000_700 })
  assert.equal(date(), 1_000_700)
})

suite('The real clock', () => {
  test('S2-8: A timer for one hour fires after the machine was suspended for two', async () => {
    let slept = 0
    const clock = createClock({ check: () => slept })
    const began = clock.now()
    const over = new Promise<void>((resolve) => void clock.after(anHourMs, resolve))
    const never = clock.after(anHourMs, () => assert.fail('it was cancelled'))
    never.cancel()
    let isLater = false
    const later = clock.after(3 * anHourMs, () => void (isLater = true))
    slept = 2 * anHourMs
    await over
    slept = 0
    assert.ok(clock.now() - began >= 2 * anHourMs)
    // A timer that rings at the same time does so after this one's microtasks.
    await sleep(100)
    assert.equal(isLater, false)
    later.cancel()
  })

  test('Without suspend, it calls back once, and not before its time', async () => {
    const clock = createClock({ check: () => 0 })
    const began = performance.now()
    let calls = 0
    clock.after(120, () => calls++)
    await sleep(60)
    assert.equal(calls, 0)
    await sleep(200)
    assert.equal(calls, 1)
    assert.ok(performance.now() - began >= 119)
  })

  test('While only upkeep is pending, it does not look for a suspend', async () => {
    let looks = 0
    const clock = createClock({ check: () => (looks++, 0) })
    const upkeep = clock.after(anHourMs, () => assert.fail('it was cancelled'))
    upkeep.asUpkeep?.()
    const before = looks
    await sleep(200)
    assert.equal(looks, before)
    clock.after(anHourMs, () => assert.fail('it was cancelled')).cancel()
    await sleep(200)
    assert.ok(looks > before)
    upkeep.cancel()
  })

  test('S2-8: A suspend while only upkeep was pending counts neither towards a start after it nor towards upkeep', async () => {
    const slept: number[] = []
    const clock = createClock({ check: () => slept.pop() ?? 0 })
    const upkeep = clock.after(anHourMs, () => assert.fail('upkeep came early'))
    upkeep.asUpkeep?.()
    await sleep(100)
    slept.push(2 * anHourMs)
    const life = clock.after(anHourMs, () => assert.fail('the suspend was before it'))
    const began = clock.now()
    await sleep(200)
    assert.deepEqual(slept, [])
    assert.ok(clock.now() - began < anHourMs)
    life.cancel()
    upkeep.cancel()
  })
})
