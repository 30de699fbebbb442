import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { BodyDeadline, longestBodyMs } from './body-deadline.ts'

const bodyMs = 30_000

/** A deadline on a played clock. */
function played(t: TestContext) {
  const state = { now: 0, isLate: false }
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(performance, 'now', () => state.now)
  const deadline = new BodyDeadline(bodyMs, () => void (state.isLate = true))
  const wait = (ms: number): boolean => {
    state.now += ms
    t.mock.timers.tick(ms)
    return state.isLate
  }
  return { deadline, wait }
}

test('A body of 5 KB a second is read for an hour, and then one that stops is late', (t) => {
  const { deadline, wait } = played(t)
  for (let second = 0; second < 3600; second++) {
    deadline.received(5000)
    assert.equal(wait(1000), false, `after ${second} s`)
  }
  assert.equal(wait(bodyMs - 1001), false)
  assert.equal(wait(1), true)
})

test('A body of 1 KB a second is late, and so is one that sends all but a byte at once', (t) => {
  const { deadline, wait } = played(t)
  let seconds = 0
  for (; !wait(1000); seconds++) deadline.received(1000)
  assert.equal(seconds, 58)
  t.mock.reset()
  const fast = played(t)
  fast.deadline.received(32 * 2 ** 20)
  assert.equal(fast.wait(bodyMs - 1), false)
  assert.equal(fast.wait(1), true)
})

test('A body that arrived is never late, and the slowest one of 32 MiB takes less than five hours', (t) => {
  const { deadline, wait } = played(t)
  deadline[Symbol.dispose]()
  assert.equal(wait(10 * bodyMs), false)
  assert.ok(longestBodyMs(bodyMs, 32 * 2 ** 20) < 5 * 3_600_000)
})
