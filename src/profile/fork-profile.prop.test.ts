import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { classesToClose } from '../contract/calls.ts'
import { isWithin, meet } from '../contract/controls.ts'
import type { JobRequest } from '../contract/job.ts'
import { initialState, mainOf, nextState, restOf } from '../lives/schedule.ts'
import { makePlan } from './make-profile.ts'
import { forkProfile } from './fork-profile.ts'

const network = fc.constantFrom<NonNullable<JobRequest['network']>>(
  'none',
  'open',
  { allow: ['a.example', '*.b.example'] },
  { allow: ['x.b.example'] },
  { deny: ['a.example'] },
)
const bytes = fc.integer({ min: 1, max: 2 ** 31 })
const limits = fc.record(
  {
    memory: bytes,
    disk: bytes,
    output: bytes,
    cpu: fc.constantFrom(0.5, 1, 2),
    processes: fc.integer({ min: 1, max: 100 }),
    timeout: fc.integer({ min: 10, max: 10_000 }),
  },
  { requiredKeys: [] },
)
const asked = fc.record({ limits, network }, { requiredKeys: [] })
const age = fc.integer({ min: 0, max: 9 })

test('A child of a fork is within its parent and within what was asked for it, in each bound and in each phase', () => {
  fc.assert(
    fc.property(asked, asked, asked, age, (own, tightened, wanted, at) => {
      const parent = planned(own)
      const to = meet(parent.controls, planned(tightened).controls)
      const { life: first } = initialState(parent.schedule, parent.controls, parent.limits.timeout)
      const { life } = nextState(first, { kind: 'tighten', zone: 'main', to, at })
      const rest = restOf(life, at)
      const child = planned(wanted)
      const made = forkProfile({ id: 'exec_1', profile: parent, ...rest }, child)
      assert.ok(isWithin(made.controls, mainOf(life).controls))
      assert.ok(isWithin(made.controls, parent.controls) && isWithin(made.controls, child.controls))
      assert.ok(rest.phases.length > 0)
      assert.equal(made.schedule.phases.length, rest.phases.length)
      for (const [n, phase] of made.schedule.phases.entries()) {
        assert.ok(isWithin(phase.controls, made.controls))
        assert.ok(isWithin(phase.controls, rest.phases[n]!.controls))
      }
      for (const name of Object.keys(made.limits) as (keyof typeof made.limits)[])
        assert.ok(made.limits[name]! <= Math.min(parent.limits[name]!, child.limits[name]!), name)
      assert.ok(made.limits.timeout <= parent.limits.timeout - at)
      const { provider, tier, image, language } = made
      assert.deepEqual(
        { provider, tier, image, language },
        {
          provider: parent.provider,
          tier: parent.tier,
          image: parent.image,
          language: parent.language,
        },
      )
      assert.notEqual(made.digest, parent.digest)
    }),
  )
})

test('The first order of a child closes each class of calls that its parent lost while it ran', () => {
  const parent = planned({})
  const { life: first } = initialState(parent.schedule, parent.controls, parent.limits.timeout)
  const to = { ...parent.controls, syscalls: ['exec', 'outside'] }
  const { life } = nextState(first, { kind: 'tighten', zone: 'main', to, at: 5 })
  const child = forkProfile({ id: 'exec_1', profile: parent, ...restOf(life, 5) }, planned({}))
  const grandchild = forkProfile({ id: 'exec_2', profile: child, ...restOf(life, 6) }, planned({}))
  for (const { schedule, controls, limits: own } of [child, grandchild]) {
    const [order, ...others] = initialState(schedule, controls, own.timeout).actions
    assert.ok(order?.kind === 'close' && others.length === 0)
    assert.deepEqual(order.controls.syscalls, ['exec', 'outside'])
    assert.deepEqual(classesToClose(controls, order.controls), ['process', 'network', 'write'])
  }
})

function planned(request: Partial<JobRequest>) {
  const { profile } = makePlan(jobOf(request), verdictOf(0), {
    config: configOf({}),
    facts: [factsOf('microvm')],
  })
  return profile
}
