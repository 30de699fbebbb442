import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../../tests/sim/simulated-clock.ts'
import { JobSlots } from './job-slots.ts'

test('A drain cancels a session and its exec, and counts them as one job', async () => {
  const clock = new SimulatedClock()
  const slots = new JobSlots(8, 2 ** 20, clock)
  const [session, job] = [slots.begin('a'), slots.begin('a')]
  const exec = slots.begin('a', 0, true)
  const draining = slots.drain(1000)
  await clock.run(1000)
  const all = [session, job, exec]
  assert.ok(all.every(({ signal }) => signal.aborted))
  for (const one of all) one[Symbol.dispose]()
  assert.equal(await draining, 2)
})
