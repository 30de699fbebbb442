import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Stops } from './stops.ts'

suite('Stops of a guest', () => {
  test('A guest that its owner stopped is not started by its CPU limit, nor the other way round', async () => {
    const { said, stops } = stand()
    await stops.stop('cpu')
    await stops.stop('owner')
    await stops.go('cpu')
    assert.deepEqual(said, ['freeze'])
    await stops.go('owner')
    assert.deepEqual(said, ['freeze', 'thaw'])
    await stops.go('owner')
    assert.deepEqual(said, ['freeze', 'thaw'])
  })

  test('A go that is asked for during a stop comes after it', async () => {
    const { said, stops } = stand()
    await Promise.all([stops.stop('owner'), stops.go('owner')])
    assert.deepEqual(said, ['freeze', 'thaw'])
  })

  test('A stop that failed holds nothing, and the next one is tried', async () => {
    const { said, stops, fail } = stand()
    fail(true)
    await assert.rejects(stops.stop('owner'))
    fail(false)
    await stops.stop('cpu')
    await stops.go('cpu')
    assert.deepEqual(said, ['freeze', 'freeze', 'thaw'])
  })
})

function stand() {
  const said: string[] = []
  let fails = false
  const stops = new Stops({
    async freeze() {
      said.push('freeze')
      await Promise.resolve()
      if (fails) throw new Error('it does not answer')
    },
    async thaw() {
      said.push('thaw')
      await Promise.resolve()
    },
  })
  return { said, stops, fail: (to: boolean) => (fails = to) }
}
