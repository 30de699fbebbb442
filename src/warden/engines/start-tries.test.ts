import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { MayflyError, type ErrorCode } from '../../contract/error.ts'
import { noStarts, withTries } from './start-tries.ts'

suite('Starts of machines', () => {
  test('A machine that starts at the third try has started, and two tries count as failed', async () => {
    const counts = noStarts()
    let tries = 0
    const start = () => (++tries < 3 ? fail('PROTOCOL') : Promise.resolve('up'))
    assert.equal(await withTries(start, counts), 'up')
    assert.deepEqual(counts, { started: 1, failedTries: 2, failed: 0 })
  })

  test('A machine that never starts fails after three tries', async () => {
    const counts = noStarts()
    await assert.rejects(
      withTries(() => fail('UNAVAILABLE'), counts),
      { code: 'UNAVAILABLE' },
    )
    assert.deepEqual(counts, { started: 0, failedTries: 3, failed: 1 })
  })

  test('Bad requests, a warden that closes and bugs are not tried again', async () => {
    const counts = noStarts()
    for (const code of ['INVALID', 'DRAINING', 'OVERLOADED'] as const)
      await assert.rejects(
        withTries(() => fail(code), counts),
        { code },
      )
    await assert.rejects(
      withTries(() => Promise.reject(new TypeError('bug')), counts),
      TypeError,
    )
    assert.deepEqual(counts, { started: 0, failedTries: 4, failed: 4 })
  })
})

function fail(code: ErrorCode): Promise<never> {
  return Promise.reject(new MayflyError(code, 'Cannot start'))
}
