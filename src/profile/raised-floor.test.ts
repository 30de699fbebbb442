import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { createProfiler } from './make-profile.ts'

const ladder = (['isolate', 'process', 'gvisor', 'microvm'] as const).map((tier) => factsOf(tier))
const raised = { strength: 3, because: 'an earlier run: Too many refusals' } as const

function plansWith(floor: typeof raised | undefined) {
  return createProfiler({ config: configOf(), providers: () => ladder, raised: () => floor })
}

test('Code with an anomaly in an earlier run gets a stronger wall, and the profile explains it', () => {
  const before = plansWith(undefined)(jobOf(), verdictOf())
  const after = plansWith(raised)(jobOf(), verdictOf())
  assert.equal(before.profile.tier, 'isolate')
  assert.deepEqual([after.kind, after.profile.floor], ['run', 3])
  assert(after.profile.explain.some(({ because }) => because.includes(raised.because)))
})

test('A raised floor never lowers a configured one', () => {
  const { profile } = plansWith(raised)(jobOf({ floor: 'microvm' }), verdictOf())
  assert.equal(profile.floor, 5)
})

test('A tier below a raised floor is refused, never raised silently', () => {
  const plan = plansWith(raised)(jobOf({ tier: 'isolate' }), verdictOf())
  assert.equal(plan.kind, 'blocked')
})
