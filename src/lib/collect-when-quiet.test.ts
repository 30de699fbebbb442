import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QuietCollector } from './collect-when-quiet.ts'

function stand() {
  const state = { doings: 0, isIdle: true, collected: 0, isFailing: false }
  const quiet = new QuietCollector({
    doings: () => state.doings,
    isIdle: () => state.isIdle,
    collect() {
      state.collected++
      if (state.isFailing) throw new Error('no memory for it')
    },
  })
  const check = (times: number) => {
    for (let n = 0; n < times; n++) quiet.check()
    return state.collected
  }
  quiet.close()
  return { state, check }
}

test('A process that waits after its start collects once', () => {
  const { check } = stand()
  assert.equal(check(1), 1)
  assert.equal(check(1000), 1)
})

test('A collection that fails does not end the process, and the next pause has one', () => {
  const { state, check } = stand()
  state.isFailing = true
  assert.equal(check(1), 1)
  state.doings++
  assert.equal(check(1000), 2)
})

test('Work prevents a collection, also while it is not yet counted', () => {
  const { state, check } = stand()
  for (let n = 0; n < 100; n++) {
    state.doings++
    check(1)
  }
  state.isIdle = false
  assert.equal(check(100), 0)
  state.isIdle = true
  assert.equal(check(1), 1)
})

test('After the start a collection needs a longer pause, once for each', () => {
  const { state, check } = stand()
  check(1)
  for (let pauses = 1; pauses <= 3; pauses++) {
    state.doings++
    assert.equal(check(15), pauses)
    assert.equal(check(100), pauses + 1)
  }
})
