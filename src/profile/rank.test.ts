import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import type { JobRequest } from '../contract/job.ts'
import type { TierName } from '../contract/tier.ts'
import type { ProviderFacts } from './choose-tier.ts'
import { makePlan } from './make-profile.ts'
import { ranked, type Ranked, usualCost } from './rank.ts'

const bubblewrap = factsOf('process', { name: 'bubblewrap', layers: 6, place: 2 })
const embedded = factsOf('process', { name: 'embedded', layers: 7, place: 3 })

function plan(facts: readonly ProviderFacts[], asked: JobRequest = {}, config: unknown = {}) {
  return makePlan(jobOf(asked), verdictOf(45), { config: configOf(config), facts })
}

const because = ({ profile }: ReturnType<typeof plan>, field: string) =>
  profile.explain.find((entry) => entry.field === field)?.because ?? ''

test('Of two walls of one tier the one that is to come first is taken, and the other is told why not', () => {
  const made = plan([embedded, bubblewrap])
  assert.equal(made.profile.provider, 'bubblewrap')
  assert.match(because(made, 'providers.embedded'), /"bubblewrap" is the one of its tier to take/)
})

test('A wall that misses something comes after one of its tier that misses less', () => {
  const made = plan([embedded, { ...bubblewrap, missing: 1 }])
  assert.equal(made.profile.provider, 'embedded')
  assert.match(because(made, 'providers.bubblewrap'), /"embedded" misses less \(0 against 1\)/)
})

test('Of two that nobody has put in order the fuller one is taken', () => {
  const full = factsOf('process', { name: 'z', layers: 5 })
  const made = plan([factsOf('process', { name: 'a', layers: 4 }), full])
  assert.equal(made.profile.provider, 'z')
  assert.match(because(made, 'providers.a'), /"z" is the fuller wall \(5 layers against 4\)/)
})

test('The order is one order, whatever is there', () => {
  const few = fc.integer({ min: 0, max: 2 })
  const one = fc.record({
    name: fc.string({ minLength: 1, maxLength: 3 }),
    tier: fc.constantFrom<TierName>('isolate', 'process', 'gvisor'),
    strength: fc.constantFrom(1, 3, 4),
    available: fc.boolean(),
    layers: few,
    missing: few,
    place: fc.option(few, { nil: undefined }),
  })
  const walls = fc.uniqueArray(one, { selector: ({ name }) => name, maxLength: 6 })
  fc.assert(
    fc.property(walls, (all) => {
      const known = all.map(({ place, ...rest }) => ({
        ...rest,
        ...(place !== undefined && { place }),
      }))
      assert.deepEqual(ranked(known.toReversed() as Ranked[]), ranked(known as Ranked[]))
    }),
  )
})

test('A wall that proved less than its tier comes after one that proved all of it', () => {
  const weaker = { ...bubblewrap, strength: 2 } as const
  assert.deepEqual(
    ranked([weaker, embedded]).map(({ name }) => name),
    ['embedded', 'bubblewrap'],
  )
})

test('The configured default is taken before a fuller wall', () => {
  const made = plan([embedded, bubblewrap], {}, { default_provider: 'embedded' })
  assert.equal(made.profile.provider, 'embedded')
  assert.match(because(made, 'providers.bubblewrap'), /"embedded" is preferred/)
})

test('Of tiers that are strong enough the one that costs least is taken, with what each costs', () => {
  const made = plan([factsOf('userkernel'), factsOf('gvisor'), factsOf('microvm')])
  assert.equal(made.profile.tier, 'gvisor')
  assert.match(
    because(made, 'providers.a-microvm'),
    /cheaper \(36 MiB a spare, 100 ms to refill against 55 MiB a spare, 150 ms/,
  )
})

test('A cost that was measured counts before the usual one of the tier', () => {
  const dear = factsOf('gvisor', { cost: { spareMiB: 400, refillMs: 900 } })
  const made = plan([dear, factsOf('microvm')])
  assert.equal(made.profile.tier, 'microvm')
  assert.equal(because(made, 'cost'), 'usual for tier "microvm"')
  assert.deepEqual(made.profile.explain.find(({ field }) => field === 'cost')?.value, {
    ...usualCost.microvm,
  })
})

test('What is not available makes its tier no cheaper', () => {
  const gone = factsOf('gvisor', {
    name: 'gone',
    available: false,
    cost: { spareMiB: 0, refillMs: 0 },
  })
  const dear = factsOf('gvisor', { cost: { spareMiB: 400, refillMs: 900 } })
  assert.equal(plan([gone, dear, factsOf('microvm')]).profile.tier, 'microvm')
})

test('A wall that takes no files or no batch is not taken for a job that brings them', () => {
  const files = [{ path: 'a.txt', content: 'a' }]
  const made = plan([factsOf('process')], { files, calls: [{}] })
  assert.ok(made.kind === 'unavailable')
  assert.match(made.error.message, /takes files and takes a batch$/)
  const able = factsOf('process', { can: ['files', 'batch'] })
  assert.equal(plan([able], { files, calls: [{}] }).kind, 'run')
})
