import assert from 'node:assert/strict'
import { test } from 'node:test'
import { QuietCollector } from './collect-when-quiet.ts'

function stand() {
  const state = { doings: 0, isIdle: true, collected: 0 }
  const quiet = new QuietCollector({
    doings: () => state.doings,
    isIdle: () => state.isIdle,
    collect: () => void state.collected++,
  })
  const look = (times: number) => {
    for (let n = 0; n < times; n++) quiet.look()
    return state.collected
  }
  quiet.close()
  return { state, look }
}

test('A process that waits after its start collects once', () => {
  const { look } = stand()
  assert.equal(look(1), 1)
  assert.equal(look(1000), 1)
})

test('Work prevents a collection, also while it is not yet counted', () => {
  const { state, look } = stand()
  for (let n = 0; n < 100; n++) {
    state.doings++
    look(1)
  }
  state.isIdle = false
  assert.equal(look(100), 0)
  state.isIdle = true
  assert.equal(look(1), 1)
})

test('After the start a collection needs a longer pause, once for each', () => {
  const { state, look } = stand()
  look(1)
  for (let pauses = 1; pauses <= 3; pauses++) {
    state.doings++
    assert.equal(look(15), pauses)
    assert.equal(look(100), pauses + 1)
  }
})
