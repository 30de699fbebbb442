import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf, jobOf, verdictOf } from '../fixtures/profile-world.ts'
import { documentedSchedule } from '../fixtures/schedules-page.ts'
import { noNetwork } from '../../src/contract/controls.ts'
import { makePlan } from '../../src/profile/make-profile.ts'
import { stage, taskOf } from './simulated-life.ts'

test('S2-9: five seconds of full access, then no network, then the end: the documented schedule, to the millisecond', async () => {
  const config = configOf({ ...(documentedSchedule() as object), default_provider: 'mock' })
  const job = jobOf({ network: { allow: ['api.example.com'] }, provider: 'mock' })
  const facts = [factsOf('mock', { name: 'mock' })]
  const { profile } = makePlan(job, verdictOf(), { config, facts })
  const { supervisor, clock, io } = await stage({ script: () => [] }, profile)
  const life = supervisor.run(taskOf(), io)
  await clock.run()
  const { end, timeline, executionTime } = await life
  assert.deepEqual([end.status, executionTime], ['timeout', 15_000])
  assert.deepEqual(timeline, [
    { at: 0, zone: 'main', event: 'phase', phase: 'full' },
    { at: 5000, zone: 'main', event: 'phase', phase: 'no-network' },
    {
      at: 5000,
      zone: 'main',
      event: 'tightened',
      phase: 'no-network',
      controls: { network: noNetwork },
      took: 0,
    },
    { at: 15_000, zone: 'main', event: 'terminated', reason: 'timeout' },
  ])
})
