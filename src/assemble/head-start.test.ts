import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { HeadStart } from './head-start.ts'

function played(isPatient: boolean) {
  const clock = new SimulatedClock()
  const done: string[] = []
  const ahead = new HeadStart({
    clock,
    isPatient,
    async prove() {
      done.push('proved')
    },
    async warm() {
      done.push('warmed')
      throw new Error('no process')
    },
  })
  ahead.start()
  return { clock, ahead, done }
}

test('A server proves walls and warms an analysis process at once, a library after a moment', async () => {
  assert.deepEqual(played(false).done, ['proved', 'warmed'])
  const { clock, ahead, done } = played(true)
  assert.deepEqual([done, ahead.hasBegun], [[], false])
  await clock.run()
  assert.deepEqual([done, ahead.hasBegun], [['proved', 'warmed'], true])
})

test('A job before that moment begins both, once, and waits for no process that cannot start', async () => {
  const { clock, ahead, done } = played(true)
  await Promise.all([ahead.proved(), ahead.warmed(), ahead.warmed()])
  await clock.run()
  assert.deepEqual(done, ['proved', 'warmed'])
})

test('After a job on the mock both wait for another job', async () => {
  const { clock, ahead, done } = played(true)
  ahead.hold()
  await clock.run()
  assert.deepEqual(done, [])
  await ahead.warmed()
  assert.deepEqual(done, ['proved', 'warmed'])
})

test('Once closed, a library begins nothing', async () => {
  const { clock, ahead, done } = played(true)
  await ahead.close()
  await clock.run()
  assert.deepEqual(done, [])
})
