import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { TaskWatch } from './task-watch.ts'

suite('The task watch of a sentry', () => {
  test('More tasks than the bound are reported from the next answer on', async () => {
    const watch = new TaskWatch({ tasks: () => Promise.resolve(9) })
    assert.equal(watch.isOver(8, 0), false)
    await answered()
    assert.equal(watch.isOver(9, 10), false)
    assert.equal(watch.isOver(8, 20), true)
  })

  test('Requests are sent one at a time, at most one in 50 ms', async () => {
    let asked = 0
    const watch = new TaskWatch({ tasks: () => (asked++, Promise.resolve(1)) })
    for (const now of [0, 10, 49]) {
      watch.isOver(8, now)
      await answered()
    }
    assert.equal(asked, 1)
    watch.isOver(8, 50)
    assert.equal(asked, 2)
  })

  test('A program near its bound is counted at each sample', async () => {
    let asked = 0
    const watch = new TaskWatch({ tasks: () => (asked++, Promise.resolve(5)) })
    for (const now of [0, 10, 20]) {
      watch.isOver(8, now)
      await answered()
    }
    assert.equal(asked, 3)
  })

  test('A sentry that stays silent is an error', () => {
    const watch = new TaskWatch({ tasks: () => new Promise(() => undefined) })
    watch.isOver(8, 0)
    assert.throws(() => watch.isOver(8, 12_001), /counts no tasks/)
  })
})

function answered(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve))
}
