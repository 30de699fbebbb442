import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { callClasses, type CallClass } from '../contract/calls.ts'
import type { Control } from '../contract/controls.ts'
import type { Job, Language } from '../contract/job.ts'
import type { ProviderFacts } from './choose-tier.ts'
import { makePlan } from './make-profile.ts'

const without = (closed?: CallClass) => callClasses.filter((name) => name !== closed)

function planOf(
  language: Language,
  closed: readonly (CallClass | undefined)[],
  more: { readonly kind?: 'open'; readonly enforces?: readonly Control[] } = {},
) {
  const { kind = 'open', enforces = ['syscalls'] } = more
  const phases = closed.map((one, at) => ({
    name: `p${at}`,
    for: '1m',
    ...(one && { syscalls: without(one) }),
  }))
  const facts = factsOf('process', {
    languages: ['js', 'ts', 'node', 'python', 'bash', 'sh'],
    can: ['session', 'realm-session', 'files'],
    enforces,
  })
  const job = jobOf({ schedule: 'own' })
  return makePlan({ ...job, session: { kind } }, verdictOf(0, { language }), {
    config: configOf({ schedules: { own: { phases } } }),
    facts: [facts],
  })
}

const cannot: Readonly<Record<string, readonly CallClass[]>> = {
  js: [],
  ts: [],
  python: ['process', 'write'],
  node: ['exec', 'process', 'write'],
  bash: ['exec', 'process', 'write'],
  sh: ['exec', 'process', 'write'],
}

for (const [language, closed] of Object.entries(cannot)) {
  const classes = closed.join(', ') || 'nothing'
  test(`A session in ${language} cannot start where its first phase closes ${classes}`, () => {
    for (const call of callClasses) {
      const plan = planOf(language as Language, [call])
      assert.equal(plan.kind, closed.includes(call) ? 'unavailable' : 'run', call)
      if (plan.kind !== 'unavailable') continue
      assert.equal(
        plan.error.message,
        `Cannot open a session in "${language}": phase "p0" of schedule "own" closes "${call}", by which it starts`,
      )
      assert.match(JSON.stringify(plan.error.details), /in a later phase/)
    }
  })
}

test('A session in js takes a wall that keeps isolates open, also where another one closes what the schedule closes', () => {
  const config = configOf({
    schedules: {
      default: {
        phases: [
          { name: 'full', for: '1m' },
          { name: 'slow', for: '1m', cpu: 0.5 },
        ],
      },
    },
  })
  const keeps = factsOf('isolate', { can: ['session', 'realm-session'] })
  const languages = ['js', 'node'] as const
  const programs = factsOf('process', { languages, can: ['session'], tightens: ['cpu'] })
  const planned = (language: Language, facts: readonly ProviderFacts[], session: Job['session']) =>
    makePlan({ ...jobOf(), ...(session && { session }) }, verdictOf(0, { language }), {
      config,
      facts,
    })
  const open = (language: Language, facts: readonly ProviderFacts[]) =>
    planned(language, facts, { kind: 'open' })
  const taken = ({ kind, profile }: ReturnType<typeof open>) => [kind, profile.provider]
  for (const facts of [[keeps], [keeps, programs]])
    assert.deepEqual(taken(open('js', facts)), ['run', keeps.name])
  const job = planned('js', [keeps, programs], undefined)
  assert.deepEqual(taken(job), ['run', programs.name], 'the wall of a job')
  assert.deepEqual(taken(open('node', [keeps, programs])), ['run', programs.name])
  const alone = open('js', [programs])
  assert.equal(alone.kind, 'unavailable')
  assert.match(JSON.stringify(alone), /its sessions run programs, not js or ts/)
  // An exec has the wall of its session, and asks for no other one by its schedule.
  const exec = { kind: 'exec', of: 'exec_1' } as const
  assert.equal(planned('js', [keeps, programs], exec).profile.tier, 'isolate')
})

test('A session starts if only a later phase closes the class, or if its wall closes none', () => {
  assert.equal(planOf('node', [undefined, 'exec']).kind, 'run')
  assert.equal(planOf('node', ['exec'], { enforces: [] }).kind, 'run')
})
