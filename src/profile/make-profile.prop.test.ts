import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { isWithin } from '../contract/controls.ts'
import type { JobRequest } from '../contract/job.ts'
import type { TierName } from '../contract/tier.ts'
import { createProfiler, makePlan } from './make-profile.ts'

const tier = fc.constantFrom<TierName>('isolate', 'wasm', 'process', 'gvisor', 'microvm')
const network = fc.constantFrom<NonNullable<JobRequest['network']>>(
  'none',
  'open',
  { allow: ['a.example', '*.b.example'] },
  { allow: ['x.b.example'] },
  { deny: ['a.example'] },
)
const bytes = fc.integer({ min: 0, max: 2 ** 31 })
/** Without 0, which is refused: it would mean no limit. */
const memory = fc.integer({ min: 1, max: 2 ** 31 })
const limits = fc.record(
  { memory, disk: bytes, timeout: fc.integer({ min: 1, max: 10_000 }) },
  { requiredKeys: [] },
)
const asked = fc.record({ limits, network, floor: tier }, { requiredKeys: [] })
const ceilings = fc.record({ memory, disk: bytes, network }, { requiredKeys: [] })
const risk = fc.integer({ min: 0, max: 100 })
const facts = fc
  .uniqueArray(tier, { minLength: 1 })
  .map((tiers) => [...tiers.map((one) => factsOf(one)), factsOf('mock', { name: 'mock' })])

test('S1-5: equal inputs give equal bytes, cached or not, in any order of facts', () => {
  fc.assert(
    fc.property(asked, ceilings, risk, facts, (job, most, score, known) => {
      const config = () => configOf({ ceilings: most })
      const one = makePlan(jobOf(job), verdictOf(score), { config: config(), facts: known })
      const other = makePlan(
        { ...jobOf(structuredClone(job)), id: 'exec_2', at: 9, principal: 'another' },
        verdictOf(score),
        { config: config(), facts: known.toReversed() },
      )
      assert.equal(JSON.stringify(other), JSON.stringify(one))
      const profile = createProfiler({ config: config(), providers: () => known })
      profile(jobOf(job), verdictOf(score))
      assert.equal(JSON.stringify(profile(jobOf(job), verdictOf(score))), JSON.stringify(one))
    }),
  )
})

test('stricter ceilings never give looser controls or limits', () => {
  fc.assert(
    fc.property(asked, ceilings, ceilings, facts, (job, most, more, known) => {
      const make = (config: unknown) =>
        makePlan(jobOf(job), verdictOf(), { config: configOf(config), facts: known }).profile
      const loose = make({ ceilings: most })
      const strict = make({ ceilings: most, tenants: [{ name: 'default', ceilings: more }] })
      assert.ok(isWithin(strict.controls, loose.controls))
      for (const [name, value = Infinity] of Object.entries(strict.limits))
        assert.ok(value <= (loose.limits[name as keyof typeof loose.limits] ?? Infinity))
    }),
  )
})

test('a higher risk never gets a weaker wall, and no wall is below its floor', () => {
  fc.assert(
    fc.property(asked, risk, risk, facts, (job, a, b, known) => {
      const config = configOf()
      const strengthAt = (score: number) => {
        const plan = makePlan(jobOf(job), verdictOf(score), { config, facts: known })
        if (plan.kind !== 'run') return Infinity
        const { strength } = known.find(({ name }) => name === plan.profile.provider)!
        assert.ok(strength >= plan.profile.floor)
        return strength
      }
      assert.ok(strengthAt(Math.max(a, b)) >= strengthAt(Math.min(a, b)))
    }),
  )
})

test('every phase is within the one before it, and the first within the grants', () => {
  const phase = fc.record(
    { network, cpu: fc.constantFrom(0.5, 1, 2), memory },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(fc.array(phase, { minLength: 1, maxLength: 5 }), asked, (phases, job) => {
      const named = phases.map((one, index) => ({ name: `p${index}`, for: 1, ...one }))
      const config = configOf({ schedules: { default: { phases: named } } })
      const { profile } = makePlan(jobOf(job), verdictOf(), { config, facts: [] })
      let before = profile.controls
      for (const { controls } of profile.schedule.phases) {
        assert.ok(isWithin(controls, before))
        before = controls
      }
    }),
  )
})
