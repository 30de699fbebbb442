import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { splitOf } from '../../tests/zones/run-in-process.ts'
import { makePlan } from '../profile/make-profile.ts'
import { zoneCosts } from './grant.ts'

const code = `function checkIt(n) { return n > 1 }
function count(n) { return n }
function parseIt(text) { return JSON.parse(text) }
await parseIt('1')
return [await checkIt(2), await count(1)]`

test('Zones take a wall each and the memory each may use', () => {
  const phase = { name: 'only', for: '4s' } as const
  const zones = {
    compute: { phases: [phase] },
    'input-validation': { phases: [{ ...phase, memory: '16MB' }] },
  } as const
  const schedules = { default: { phases: [{ name: 'full', for: '9s' }], zones } }
  const facts = [factsOf('isolate', { name: 'isolated-vm', languages: ['js', 'ts'] })]
  const config = configOf({ schedules: structuredClone(schedules) as never })
  const { profile } = makePlan(jobOf(), verdictOf(), { config, facts })
  const split = splitOf(code)
  assert.equal(split.zones.length, 3)
  const memory = profile.controls.memory + 16 * 2 ** 20
  assert.deepEqual(zoneCosts(profile, split), { walls: 2, memory })
  assert.deepEqual(zoneCosts(profile, { zones: [], residual: [], calls: [] }), {
    walls: 0,
    memory: 0,
  })
})
