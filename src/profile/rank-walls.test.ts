import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import type { JobRequest } from '../contract/job.ts'
import type { TierName } from '../contract/tier.ts'
import type { ProviderFacts } from './choose-tier.ts'
import { makePlan } from './make-profile.ts'
import { rankWalls, type RankFacts, usualCost } from './rank-walls.ts'

const bubblewrap = factsOf('process', { name: 'bubblewrap', layers: 6, position: 2 })
const embedded = factsOf('process', { name: 'embedded', layers: 7, position: 3 })

function plan(facts: readonly ProviderFacts[], asked: JobRequest = {}, config: unknown = {}) {
  return makePlan(jobOf(asked), verdictOf(45), { config: configOf(config), facts })
}

const because = ({ profile }: ReturnType<typeof plan>, field: string) =>
  profile.explain.find((entry) => entry.field === field)?.because ?? ''

test('Among walls of one tier the configured order decides, and the other one is explained', () => {
  const made = plan([embedded, bubblewrap])
  assert.equal(made.profile.provider, 'bubblewrap')
  assert.match(
    because(made, 'providers.embedded'),
    /"bubblewrap" comes first in the order of its tier/,
  )
})

test('A wall with more missing layers ranks lower in its tier', () => {
  const made = plan([embedded, { ...bubblewrap, missing: 1 }])
  assert.equal(made.profile.provider, 'embedded')
  assert.match(
    because(made, 'providers.bubblewrap'),
    /"embedded" lacks fewer layers \(0 against 1\)/,
  )
})

test('Without a configured order the wall with more layers is used', () => {
  const full = factsOf('process', { name: 'z', layers: 5 })
  const made = plan([factsOf('process', { name: 'a', layers: 4 }), full])
  assert.equal(made.profile.provider, 'z')
  assert.match(because(made, 'providers.a'), /"z" has more layers \(5 against 4\)/)
})

test('The ranking is a total order', () => {
  const few = fc.integer({ min: 0, max: 2 })
  const one = fc.record({
    name: fc.string({ minLength: 1, maxLength: 3 }),
    tier: fc.constantFrom<TierName>('isolate', 'process', 'gvisor'),
    strength: fc.constantFrom(1, 3, 4),
    available: fc.boolean(),
    layers: few,
    missing: few,
    position: fc.option(few, { nil: undefined }),
  })
  const walls = fc.uniqueArray(one, { selector: ({ name }) => name, maxLength: 6 })
  fc.assert(
    fc.property(walls, (all) => {
      const known = all.map(({ position, ...rest }) => ({
        ...rest,
        ...(position !== undefined && { position }),
      }))
      assert.deepEqual(
        rankWalls(known.toReversed() as RankFacts[]),
        rankWalls(known as RankFacts[]),
      )
    }),
  )
})

test('A wall weaker than its tier ranks after one of full strength', () => {
  const weaker = { ...bubblewrap, strength: 2 } as const
  assert.deepEqual(
    rankWalls([weaker, embedded]).map(({ name }) => name),
    ['embedded', 'bubblewrap'],
  )
})

test('The configured default provider outranks a wall with more layers', () => {
  const made = plan([embedded, bubblewrap], {}, { default_provider: 'embedded' })
  assert.equal(made.profile.provider, 'embedded')
  assert.match(because(made, 'providers.bubblewrap'), /"embedded" is preferred/)
})

test('Among tiers that are strong enough the cheapest is used, with its cost', () => {
  const made = plan([factsOf('userkernel'), factsOf('gvisor'), factsOf('microvm')])
  assert.equal(made.profile.tier, 'gvisor')
  assert.match(
    because(made, 'providers.a-microvm'),
    /cheaper \(36 MiB a spare, 100 ms to refill against 55 MiB a spare, 150 ms/,
  )
})

test('A measured cost takes precedence over the usual one', () => {
  const dear = factsOf('gvisor', { cost: { spareMiB: 400, refillMs: 900 } })
  const made = plan([dear, factsOf('microvm')])
  assert.equal(made.profile.tier, 'microvm')
  assert.equal(because(made, 'cost'), 'usual for tier "microvm"')
  assert.deepEqual(made.profile.explain.find(({ field }) => field === 'cost')?.value, {
    ...usualCost.microvm,
  })
})

test('Unavailable walls do not make their tier cheaper', () => {
  const gone = factsOf('gvisor', {
    name: 'gone',
    available: false,
    cost: { spareMiB: 0, refillMs: 0 },
  })
  const dear = factsOf('gvisor', { cost: { spareMiB: 400, refillMs: 900 } })
  assert.equal(plan([gone, dear, factsOf('microvm')]).profile.tier, 'microvm')
})

test('Walls without files or batches are not used for jobs that need them', () => {
  const files = [{ path: 'a.txt', content: 'a' }]
  const made = plan([factsOf('process')], { files, calls: [{}] })
  assert.ok(made.kind === 'unavailable')
  assert.match(made.error.message, /supports files and accepts a batch$/)
  const able = factsOf('process', { can: ['files', 'batch'] })
  assert.equal(plan([able], { files, calls: [{}] }).kind, 'run')
})
