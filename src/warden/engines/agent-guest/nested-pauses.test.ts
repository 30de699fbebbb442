import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { NestedPauses } from './nested-pauses.ts'

suite('NestedPauses of a guest', () => {
  test('A guest that its owner stopped is not started by its CPU limit, nor the other way round', async () => {
    const { said, stops } = stand()
    await stops.pause('cpu')
    await stops.pause('owner')
    await stops.resume('cpu')
    assert.deepEqual(said, ['freeze'])
    await stops.resume('owner')
    assert.deepEqual(said, ['freeze', 'thaw'])
    await stops.resume('owner')
    assert.deepEqual(said, ['freeze', 'thaw'])
  })

  test('A continue requested during a stop is sent after it', async () => {
    const { said, stops } = stand()
    await Promise.all([stops.pause('owner'), stops.resume('owner')])
    assert.deepEqual(said, ['freeze', 'thaw'])
  })

  test('A guest that is lent runs for that long, and no stop or go passes it', async () => {
    const { said, stops } = stand()
    assert.equal(await stops.resumeDuring(async () => 'it ran anyway'), 'it ran anyway')
    await stops.pause('owner')
    const lent = stops.resumeDuring(async () => void said.push('act'))
    const gone = stops.resume('owner')
    await Promise.all([lent, gone])
    assert.deepEqual(said, ['freeze', 'lent', 'act', 'taken back', 'thaw'])
    await stops.pause('owner')
    await assert.rejects(
      stops.resumeDuring(() => Promise.reject(new Error('it failed'))),
      /it failed/,
    )
    assert.deepEqual([said.at(-1), stops.isPaused], ['taken back', true])
  })

  test('A failed stop pauses nothing, and the next one is tried', async () => {
    const { said, stops, fail } = stand()
    fail(true)
    await assert.rejects(stops.pause('owner'))
    fail(false)
    await stops.pause('cpu')
    await stops.resume('cpu')
    assert.deepEqual(said, ['freeze', 'freeze', 'thaw'])
  })
})

function stand() {
  const said: string[] = []
  let fails = false
  const stops = new NestedPauses({
    async freeze() {
      said.push('freeze')
      await Promise.resolve()
      if (fails) throw new Error('it does not answer')
    },
    async thaw() {
      said.push('thaw')
      await Promise.resolve()
    },
    async resumeDuring() {
      said.push('lent')
      return async () => void said.push('taken back')
    },
  })
  return { said, stops, fail: (to: boolean) => (fails = to) }
}
