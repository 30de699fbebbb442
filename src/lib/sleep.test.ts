import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { createSleep } from './sleep.ts'

suite('Detection of suspend', () => {
  test('The lead of the boot clock counts as suspend, and is reported once', () => {
    const at = { steady: 5_000, boot: 90_000 }
    const sleep = createSleep({ steady: () => at.steady, boot: () => at.boot })
    at.steady += 1_000
    at.boot += 1_010
    assert.equal(sleep.check(), 0)
    at.boot += 3_600_000
    assert.equal(sleep.check(), 3_600_010)
    assert.equal(sleep.check(), 0)
  })

  test('A delayed reading is not a suspend, nor is a clock that falls behind', () => {
    let [steady, held] = [0, 0]
    const sleep = createSleep({ steady: () => (steady += held), boot: () => steady })
    held = 400
    assert.equal(sleep.check(), 0)
    held = 0
    assert.equal(sleep.check(), 0)
  })

  test('Without suspend, the result is 0', () => {
    assert.equal(createSleep().check(), 0)
  })
})
