import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LoopShare } from './loop-share.ts'

test('Small requests never wait, however many; large ones get a tenth of the time', () => {
  let now = 0
  const modest = new LoopShare(() => now)
  for (let n = 0; n < 100_000; n++) assert.equal(modest.wait(0.5), 0)

  const greedy = new LoopShare(() => now)
  let taken = 0
  for (; now < 60_000; taken += 41) {
    now += 41
    now += greedy.wait(41)
  }
  assert.ok(taken < 60_000 * 0.12, `${taken} ms of a minute`)
  now += 10_000
  assert.equal(greedy.wait(80), 0, 'what was not used for a while may be')
})
