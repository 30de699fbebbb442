import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { configSchema } from '../contract/config.ts'
import { unlimited } from '../contract/controls.ts'
import { makePlan } from './make-profile.ts'

const MB = 2 ** 20

function profileAt(risk: number, config: unknown = {}) {
  const facts = [factsOf('microvm')]
  return makePlan(jobOf(), verdictOf(risk), { config: configOf(config), facts }).profile
}

const because = (profile: ReturnType<typeof profileAt>, field: string) =>
  profile.explain.find((entry) => entry.field === field)?.because

test('S1-10: riskier code gets less CPU, memory, processes and disk bandwidth', () => {
  const rows = [0, 20, 40, 60, 80].map((risk) => {
    const { cpu, memory, processes, io } = profileAt(risk).controls
    return [cpu, memory / MB, processes, io / MB]
  })
  assert.deepEqual(rows, [
    [1, 128, 64, unlimited / MB],
    [0.75, 128, 64, 64],
    [0.5, 128, 32, 32],
    [0.25, 96, 16, 16],
    [0.125, 64, 8, 4],
  ])
})

test('S1-10: each reduced quota names its step and risk', () => {
  const profile = profileAt(64)
  assert.equal(because(profile, 'limits.cpu'), 'default, then 0.25 of it (restraint.60, risk 64)')
  assert.equal(because(profile, 'controls.io'), 'restraint.60, risk 64')
  assert.equal(because(profile, 'limits.disk'), 'default')
})

test('A restraint leaves a byte of memory at least, since 0 would be no limit', () => {
  for (const risk of [60, 80]) {
    const { limits, controls } = profileAt(risk, { limits: { memory: 1 } })
    assert.deepEqual([limits.memory, controls.memory], [1, 1], `${risk}`)
  }
})

test('A configured restraint replaces the default, and an empty one reduces nothing', () => {
  const mine = profileAt(50, { restraint: { 30: { memory: 0.5 } } })
  assert.deepEqual([mine.limits.memory / MB, mine.limits.cpu], [64, 1])
  const none = profileAt(90, { restraint: {} })
  assert.deepEqual([none.limits.memory / MB, none.controls.io], [128, unlimited])
})

test('A step looser than one for a lower risk is refused, with its position', () => {
  const read = configSchema.safeParse({ restraint: { 40: { cpu: 0.5 }, 60: { cpu: 0.6 } } })
  assert.ok(!read.success)
  assert.deepEqual(read.error.issues[0]?.path, ['restraint', '60'])
  assert.match(read.error.issues[0].message, /no more cpu than a lower risk has/)
})

test('S1-10: a higher risk never has more, for any table of restraint', () => {
  const step = fc.record(
    {
      cpu: fc.double({ min: 0.01, max: 1, noNaN: true }),
      memory: fc.double({ min: 0.01, max: 1, noNaN: true }),
      processes: fc.double({ min: 0.01, max: 1, noNaN: true }),
      io: fc.integer({ min: 1, max: 2 ** 30 }),
    },
    { requiredKeys: [] },
  )
  const table = fc.dictionary(fc.integer({ min: 0, max: 100 }).map(String), step, { maxKeys: 4 })
  const risk = fc.integer({ min: 0, max: 100 })
  const less = new Set<string>()
  fc.assert(
    fc.property(table, risk, risk, (restraint, a, b) => {
      fc.pre(configSchema.safeParse({ restraint }).success)
      const low = profileAt(Math.min(a, b), { restraint }).controls
      const high = profileAt(Math.max(a, b), { restraint }).controls
      for (const name of ['cpu', 'memory', 'processes', 'io'] as const)
        if (high[name] < low[name]) less.add(name)
        else assert.equal(high[name], low[name])
    }),
    { numRuns: 300 },
  )
  // A table without effect would pass too.
  assert.equal(less.size, 4, [...less].join())
})
