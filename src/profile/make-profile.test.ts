import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  configOf,
  factsOf,
  jobOf,
  leastFacts,
  verdictOf,
} from '../../tests/fixtures/profile-world.ts'
import { overrideConfig } from '../config/override.ts'
import type { JobRequest, Language } from '../contract/job.ts'
import type { ImageAnswers } from '../contract/image-reference.ts'
import { presetNames } from '../contract/presets.ts'
import { profileSchema } from '../contract/profile.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { Verdict } from '../contract/verdict.ts'
import { canonicalJson } from '../lib/canonical-json.ts'
import { sha256 } from '../lib/hash.ts'
import type { ProviderFacts } from './choose-tier.ts'
import { createProfiler, makePlan } from './make-profile.ts'

interface Case {
  readonly config?: unknown
  readonly environment?: string
  readonly asked?: JobRequest
  readonly tenant?: string
  readonly risk?: number
  readonly verdict?: Partial<Verdict>
  readonly facts?: readonly ProviderFacts[]
}

function plan(given: Case = {}): Plan {
  const { config, environment, asked, tenant, risk, verdict, facts = leastFacts } = given
  return makePlan(jobOf(asked, tenant), verdictOf(risk, verdict), {
    config: configOf(config, environment),
    facts,
  })
}

/** Result as text: the provider, or kind and code. */
function end(given: Case): string {
  const made = plan(given)
  return made.kind === 'run' ? made.profile.provider : `${made.kind} ${made.error.code}`
}

const because = ({ profile }: Plan, field: string) =>
  profile.explain.find((entry) => entry.field === field)?.because

const ladder = [
  factsOf('microvm'),
  factsOf('isolate'),
  factsOf('process'),
  factsOf('gvisor'),
  factsOf('mock', { name: 'mock' }),
]

test('S4-32: a minimal job gets the cheapest wall and no rights', () => {
  const { kind, profile } = plan()
  assert.equal(kind, 'run')
  assert.equal(profile.provider, 'isolated-vm')
  assert.deepEqual(profile.controls.network, { allow: [], deny: [] })
  assert.deepEqual(profile.controls.files, { read: [], write: [] })
  assert.deepEqual(profile.controls.capabilities, [])
  assert.deepEqual(profile.schedule.phases, [
    { name: 'full', for: 5000, controls: profile.controls },
  ])
  assert.deepEqual(profileSchema.parse(profile), profile)
})

test('requests beyond the language are granted to their job only, and explained', () => {
  const profiler = createProfiler({ config: configOf(), providers: () => leastFacts })
  const asks = profiler(jobOf({ capabilities: ['webassembly'] }), verdictOf())
  const asksNothing = profiler(jobOf(), verdictOf())
  assert.deepEqual(asks.profile.controls.capabilities, ['webassembly'])
  assert.deepEqual(asksNothing.profile.controls.capabilities, [])
  assert.equal(because(asks, 'controls.capabilities'), 'asked')
  assert.equal(because(asksNothing, 'controls.capabilities'), 'default')
})

test('the risk picks the wall, and at its last step blocks', () => {
  const steps = [0, 39, 40, 59, 60, 79, 80, 94, 95, 100].map((risk) => end({ risk, facts: ladder }))
  assert.deepEqual(steps, [
    'a-isolate',
    'a-isolate',
    'a-process',
    'a-process',
    'a-gvisor',
    'a-gvisor',
    'a-microvm',
    'a-microvm',
    'blocked THREAT_DETECTED',
    'blocked THREAT_DETECTED',
  ])
})

test('an escalation without block never blocks', () =>
  assert.equal(
    end({ risk: 100, facts: ladder, config: { escalation: { 0: 'process' } } }),
    'a-process',
  ))

test('a plan without a wall has no image, whether it is blocked or unavailable', () => {
  for (const given of [{ risk: 100, facts: [] }, { facts: [] }]) {
    const made = plan(given)
    assert.deepEqual([made.profile.provider, made.profile.image], ['none', 'none'])
    assert.equal(because(made, 'image'), 'no wall')
  }
  assert.equal(plan({ risk: 100, facts: ladder }).profile.image, 'builtin')
})

test('a blocked plan reports score, severity and patterns, and what to change', () => {
  const finding = {
    name: 'VM_ESCAPE',
    severity: 'critical',
    score: 100,
    line: 3,
    column: 7,
    description: 'reaches for the constructor of a constructor',
    kind: 'threat',
    because: 'in full',
    count: 1,
  } as const
  const made = plan({ risk: 100, verdict: { findings: [finding] } })
  assert.ok(made.kind === 'blocked')
  assert.deepEqual(made.error.details, {
    score: 100,
    severity: 'critical',
    patterns: [
      {
        name: 'VM_ESCAPE',
        description: finding.description,
        severity: 'critical',
        line: 3,
        column: 7,
      },
    ],
    hint: 'Change line 3, column 7: call functions by their own names, not through a constructor',
  })
})

test('a job never falls below its floor: it ends unavailable, with the missing wall and a hint', () => {
  const made = plan({ risk: 45 })
  assert.ok(made.kind === 'unavailable')
  assert.match(made.error.message, /"process" \(escalation\.40, risk 45\)/)
  const details = made.error.details as { hint: string; providers: { name: string }[] }
  assert.match(details.hint, /"mayfly doctor".*\[escalation\]/)
  assert.deepEqual(
    details.providers.map(({ name }) => name),
    ['mock', 'isolated-vm'],
  )
  assert.equal(made.profile.floor, 3)
  assert.equal(made.profile.tier, 'process')
})

const ends: readonly (readonly [string, Case, string])[] = [
  ['a tier asked for is that tier', { asked: { tier: 'gvisor' }, facts: ladder }, 'a-gvisor'],
  [
    'a floor asked for is at least that',
    { asked: { floor: 'container' }, facts: ladder },
    'a-process',
  ],
  [
    'a provider asked for is that one',
    { asked: { provider: 'a-microvm' }, facts: ladder },
    'a-microvm',
  ],
  ['a tier below the risk', { asked: { tier: 'isolate' }, risk: 50 }, 'blocked TIER_TOO_WEAK'],
  [
    'a tier below the floor asked',
    { asked: { tier: 'isolate', floor: 'process' } },
    'blocked TIER_TOO_WEAK',
  ],
  [
    'a provider below the risk',
    { asked: { provider: 'isolated-vm' }, risk: 50 },
    'blocked TIER_TOO_WEAK',
  ],
  ['a tier without a provider here', { asked: { tier: 'microvm' } }, 'unavailable UNAVAILABLE'],
  ['a provider that nobody knows', { asked: { provider: 'nowhere' } }, 'unavailable UNAVAILABLE'],
  [
    'a tier and a provider of another',
    { asked: { tier: 'gvisor', provider: 'a-process' }, facts: ladder },
    'unavailable UNAVAILABLE',
  ],
  [
    'a language that no provider runs',
    { verdict: { language: 'python' } },
    'unavailable LANGUAGE_UNSUPPORTED',
  ],
  ['node needs a process', { verdict: { language: 'node' }, facts: ladder }, 'a-process'],
  [
    'node on an isolate',
    { verdict: { language: 'node' }, asked: { tier: 'isolate' }, facts: ladder },
    'blocked TIER_TOO_WEAK',
  ],
  ['the mock is reached by its name', { asked: { provider: 'mock' } }, 'mock'],
  [
    'the mock runs nothing, so risk asks no wall of it',
    { asked: { provider: 'mock' }, risk: 90 },
    'mock',
  ],
  [
    'the mock below a floor someone set',
    { asked: { provider: 'mock', floor: 'isolate' } },
    'blocked TIER_TOO_WEAK',
  ],
  [
    'the mock in production',
    { asked: { provider: 'mock' }, environment: 'production' },
    'blocked TIER_TOO_WEAK',
  ],
  ['the mock alone', { facts: [factsOf('mock', { name: 'mock' })] }, 'unavailable UNAVAILABLE'],
  ['the mock by default', { config: { default_provider: 'mock' } }, 'mock'],
  [
    'the mock by default, with a floor asked',
    { config: { default_provider: 'mock' }, asked: { floor: 'isolate' } },
    'isolated-vm',
  ],
  [
    'the mock by default, with a tier asked',
    { config: { default_provider: 'mock' }, asked: { tier: 'isolate' } },
    'isolated-vm',
  ],
  [
    'a default provider before a cheaper one',
    { config: { default_provider: 'a-gvisor' }, facts: ladder },
    'a-gvisor',
  ],
  [
    'a default provider that is too weak gives way to a stronger',
    { config: { default_provider: 'a-isolate' }, risk: 50, facts: ladder },
    'a-process',
  ],
  [
    'a network where the wall cannot enforce it',
    { asked: { network: { allow: ['a.example'] } } },
    'unavailable UNAVAILABLE',
  ],
  ['a network where the wall can', { asked: { network: 'open' }, facts: ladder }, 'a-isolate'],
  [
    'a network that a ceiling takes away',
    { asked: { network: 'open' }, config: { ceilings: { network: 'none' } } },
    'isolated-vm',
  ],
  [
    'a wall that proved weaker than its kind',
    { risk: 50, facts: [factsOf('process', { strength: 1 })] },
    'unavailable UNAVAILABLE',
  ],
  [
    'a wall that is not there',
    { facts: [factsOf('isolate', { available: false, reason: 'no' })] },
    'unavailable UNAVAILABLE',
  ],
]
for (const [what, given, expected] of ends)
  test(`${what}: ${expected}`, () => assert.equal(end(given), expected))

test("a tenant's floor and ceilings apply to all its jobs", () => {
  const config = {
    tenants: [
      {
        name: 'acme',
        floor: 'process',
        ceilings: { memory: '64MB', network: { allow: ['*.example'] } },
      },
    ],
  }
  const asked: JobRequest = {
    limits: { memory: '1GB', cpu: 2 },
    network: { allow: ['a.example', 'b.test'] },
  }
  const made = plan({ config, asked, tenant: 'acme', facts: ladder })
  assert.equal(made.profile.provider, 'a-process')
  assert.equal(because(made, 'floor'), 'tenants.acme.floor')
  assert.equal(made.profile.limits.memory, 64 * 2 ** 20)
  assert.equal(because(made, 'limits.memory'), 'tenants.acme.ceilings.memory')
  assert.equal(made.profile.controls.memory, 64 * 2 ** 20)
  assert.equal(made.profile.limits.cpu, 2)
  assert.deepEqual(made.profile.controls.network, { allow: ['https://a.example:443'], deny: [] })
  assert.equal(because(made, 'controls.network'), 'asked, within tenants.acme.ceilings.network')
})

test("a tenant without configuration has the default tenant's settings", () => {
  const config = { tenants: [{ name: 'default', ceilings: { cpu: 0.5 } }] }
  assert.equal(plan({ config, tenant: 'of-a-key' }).profile.limits.cpu, 0.5)
})

test('the phases of a schedule start from the grants and only close', () => {
  const config = {
    schedules: {
      careful: {
        phases: [
          { name: 'full', for: '1s' },
          { name: 'quiet', for: '2s', network: 'none', cpu: 0.5 },
          { name: 'small', for: 500, memory: '1MB' },
        ],
        on_anomaly: { low: 'advance' },
        shorten: 0.25,
      },
    },
  }
  const asked: JobRequest = { schedule: 'careful', network: { allow: ['a.example'] } }
  const { schedule, controls } = plan({ config, asked, facts: ladder }).profile
  assert.deepEqual(
    schedule.phases.map(({ name, for: ms }) => `${name} ${ms}`),
    ['full 1000', 'quiet 2000', 'small 500'],
  )
  const [full, quiet, small] = schedule.phases
  assert.deepEqual(full?.controls, controls)
  assert.deepEqual(quiet?.controls, { ...controls, cpu: 0.5, network: { allow: [], deny: [] } })
  assert.deepEqual(small?.controls, { ...quiet.controls, memory: 2 ** 20 })
  assert.deepEqual(schedule.onAnomaly, { low: 'advance', medium: 'advance', high: 'terminate' })
  assert.equal(schedule.shorten, 0.25)
})

test('an unknown schedule is refused with the list of known ones', () =>
  assert.throws(() => plan({ asked: { schedule: 'constructor' } }), {
    code: 'INVALID',
    details: { field: 'schedule', known: [...presetNames].sort() },
  }))

test('S1-5: explain names the reason behind every field', () => {
  for (const { profile } of [plan(), plan({ risk: 50 }), plan({ risk: 99 })]) {
    const { controls, schedule, limits, output: _, digest: __, explain, ...plain } = profile
    const fields = new Set(explain.map(({ field }) => field))
    const expected = [
      ...Object.keys(plain),
      ...Object.keys(controls).map((name) => `controls.${name}`),
      ...Object.keys(schedule).map((name) => `schedule.${name}`),
      ...Object.keys(limits).map((name) => `limits.${name}`),
      'output.schema',
      'output.gate',
    ]
    assert.deepEqual(
      expected.filter((field) => !fields.has(field)),
      [],
    )
    assert.ok(explain.every(({ because }) => typeof because === 'string' && because !== ''))
    assert.equal(fields.size, explain.length)
  }
})

test('every provider that was not chosen has its reason', () => {
  const made = plan({ risk: 50, facts: ladder })
  assert.equal(because(made, 'providers.mock'), 'the mock is selected only by name')
  assert.match(because(made, 'providers.a-isolate') ?? '', /strength 1 is below 3/)
  assert.match(because(made, 'providers.a-microvm') ?? '', /"a-process" is cheaper/)
  assert.equal(because(made, 'providers.a-process'), undefined)
})

test('the digest covers everything but digest and explain', () => {
  const { digest, explain: _, ...rest } = plan().profile
  assert.equal(digest, `sha256:${sha256(canonicalJson(rest))}`)
})

test('a plan is frozen, and shares no data with its caller', () => {
  const schema = { type: 'object' }
  const asked: JobRequest = { output: { schema } }
  const job = jobOf(asked)
  const made = makePlan(job, verdictOf(), { config: configOf(), facts: leastFacts })
  schema.type = 'string'
  assert.deepEqual(made.profile.output.schema, { type: 'object' })
  assert.throws(() => Object.assign(made.profile.limits, { cpu: 9 }), TypeError)
  const isFrozen = (value: unknown): boolean =>
    typeof value !== 'object' ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(isFrozen))
  assert.ok(isFrozen(made))
  assert.deepEqual(JSON.parse(JSON.stringify(made.profile)), made.profile)
})

test('a plan is cached for equal inputs, and made anew when they differ', () => {
  let config = configOf()
  let facts = leastFacts
  const profile = createProfiler({ config: () => config, providers: () => facts })
  const first = profile(jobOf(), verdictOf())
  assert.equal(profile(jobOf(), verdictOf()), first)
  assert.notEqual(profile(jobOf({ limits: { cpu: 2 } }), verdictOf()), first)
  assert.notEqual(profile(jobOf({}, 'other'), verdictOf()), first)
  assert.notEqual(profile(jobOf(), verdictOf(0, { digest: 'sha256:other' })), first)
  config = configOf({ limits: { cpu: 4 } })
  assert.equal(profile(jobOf(), verdictOf()).profile.limits.cpu, 4)
  facts = facts.map((fact) => ({ ...fact, available: false }))
  assert.equal(profile(jobOf(), verdictOf()).kind, 'unavailable')
})

test('only reasons that keep a job from running are reported', () => {
  const made = plan({ asked: { tier: 'gvisor' } })
  assert.ok(made.kind === 'unavailable')
  assert.match(made.error.message, /no available provider is tier "gvisor" and runs "js"$/)
  const { hint } = made.error.details as { readonly hint: string }
  assert.doesNotMatch(hint, /escalation/)
})

test('A named tier or provider has the reasons of its own providers alone, and an unknown one the names', () => {
  const detailsOf = (asked: NonNullable<Case['asked']>, facts = ladder) => {
    const made = plan({ asked, facts })
    assert.ok(made.kind === 'unavailable')
    return made.error.details as {
      readonly hint: string
      readonly providers: readonly { readonly name: string }[]
    }
  }
  const away = ladder.map((fact) => ({ ...fact, available: false }))
  const named = (asked: Parameters<typeof detailsOf>[0], facts = away) =>
    detailsOf(asked, facts).providers.map(({ name }) => name)
  assert.deepEqual(named({ tier: 'microvm' }), ['a-microvm'])
  assert.deepEqual(named({ provider: 'a-process' }), ['a-process'])
  assert.equal(named({ tier: 'userkernel' }).length, ladder.length)
  const { hint, providers } = detailsOf({ provider: 'process' })
  assert.deepEqual(providers, [])
  assert.match(hint, /^Name one of .*a-process/)
})

/** Facts of a machine without virtual machines and userland kernels. */
const plainMachine = [
  factsOf('isolate'),
  factsOf('process'),
  factsOf('gvisor', { available: false }),
]

test('a blocked plan says nothing of walls that this machine lacks: they may not be proved yet', () => {
  const made = plan({ risk: 100, facts: [factsOf('isolate')] })
  assert.equal(made.kind, 'blocked')
  assert.equal(because(made, 'floor.wanted'), undefined)
  assert.equal(because(made, 'floor'), 'escalation.80, risk 100')
  assert.equal(because(made, 'provider'), 'no wall holds code that is blocked')
})

test('if this machine lacks the wall of the default escalation, its strongest wall runs the job', () => {
  for (const [risk, wanted] of [
    [60, 'gvisor'],
    [90, 'microvm'],
  ] as const) {
    const made = plan({ risk, facts: plainMachine })
    assert.equal(made.profile.provider, 'a-process')
    assert.deepEqual(made.kind === 'run' && made.standsIn, { wanted, taken: 'process', risk })
    assert.match(because(made, 'floor.wanted') ?? '', /no such wall is here/)
  }
  const stronger = [...plainMachine, factsOf('userkernel')]
  assert.equal(end({ risk: 90, facts: stronger }), 'a-userkernel')
  assert.equal(end({ risk: 60, facts: stronger }), 'a-userkernel')
  const made = plan({ risk: 60, facts: stronger })
  assert.equal(made.kind === 'run' && made.standsIn, undefined)
})

test('no wall below process substitutes a stronger one, and blocked code never runs', () => {
  const isolates = [factsOf('isolate'), factsOf('wasm')]
  assert.equal(end({ risk: 90, facts: isolates }), 'unavailable UNAVAILABLE')
  assert.equal(end({ risk: 95, facts: plainMachine }), 'blocked THREAT_DETECTED')
  assert.equal(
    end({ risk: 90, facts: plainMachine, asked: { tier: 'isolate' } }),
    'blocked TIER_TOO_WEAK',
  )
  assert.equal(end({ risk: 90, facts: plainMachine, asked: { tier: 'process' } }), 'a-process')
})

test('configured floors, escalations and tenant floors still end unavailable', () => {
  const escalation = { 0: 'isolate', 40: 'process', 60: 'gvisor', 80: 'microvm', 95: 'block' }
  const cases: Case[] = [
    { config: { escalation } },
    { asked: { floor: 'gvisor' } },
    { config: { tenants: [{ name: 'default', floor: 'gvisor' }] } },
  ]
  for (const one of cases)
    assert.equal(end({ risk: 60, facts: plainMachine, ...one }), 'unavailable UNAVAILABLE')
  const config = overrideConfig(configOf(), { escalation })
  const made = makePlan(jobOf(), verdictOf(60), { config, facts: plainMachine })
  assert.equal(made.kind, 'unavailable')
})

const zoned = {
  schedules: {
    default: {
      phases: [{ name: 'full', for: '20s' }],
      zones: {
        video: { program: 'ffmpeg', phases: [{ name: 'brief', for: '1s', memory: '64MB' }] },
      },
    },
  },
}

test('a schedule with zones of programs needs a wall that makes them; a wall without them is refused by name', () => {
  const splits = factsOf('process', { can: ['network', 'program-zones'] })
  const facts = [factsOf('isolate', { languages: ['js', 'ts'] }), splits, factsOf('microvm')]
  const run = (asked: JobRequest & { readonly language?: Language }, risk = 0) => {
    const { language = 'js' } = asked
    return { config: zoned, facts, asked, risk, verdict: { language } } as const
  }
  assert.equal(end(run({ language: 'sh' })), 'a-process')
  const refused = plan(run({ language: 'sh', tier: 'microvm' }))
  assert.equal(refused.kind, 'unavailable')
  assert.match(
    because(refused, 'providers.a-microvm') ?? '',
    /it makes no zones of programs, and the schedule has some/,
  )
  // A realm executes no program.
  assert.equal(end(run({ language: 'js' })), 'a-isolate')
})

test('the cheapest wall that closes what the schedule closes is taken, and without one the cheapest', () => {
  const full = { name: 'full', for: '1s' }
  const phases = [full, { name: 'slow', for: '1s', cpu: 0.5, memory: '64MB' }]
  const config = { schedules: { default: { phases } } }
  const isolate = factsOf('isolate', { tightens: ['network', 'cpu'] })
  const walls = [isolate, factsOf('process', { tightens: ['cpu', 'memory'] }), factsOf('microvm')]
  const chosen = plan({ config, facts: walls })
  assert.equal(chosen.profile.provider, 'a-process')
  const why = 'it cannot close memory, as the schedule does'
  assert.equal(because(chosen, 'providers.a-isolate'), why)
  assert.equal(plan({ facts: walls }).profile.provider, 'a-isolate')
  assert.equal(plan({ config, facts: [isolate] }).profile.provider, 'a-isolate')
  assert.equal(plan({ config, facts: walls, asked: { tier: 'isolate' } }).profile.tier, 'isolate')
  const preferred = { ...config, default_provider: 'a-isolate' }
  assert.equal(plan({ config: preferred, facts: walls }).profile.provider, 'a-isolate')
})

test('a program that asks for a capture takes a wall that makes one, and the plan says so where none here does', () => {
  const capturing = factsOf('gvisor', { can: ['capture-memory'] })
  const walls = [factsOf('isolate'), factsOf('process'), capturing]
  const asks = { verdict: { language: 'python' }, asked: { capture: true } } as const
  const chosen = plan({ facts: walls, ...asks })
  assert.equal(chosen.profile.provider, 'a-gvisor')
  assert.equal(because(chosen, 'capture'), 'asked')
  const why = 'it makes no captures, and the job asks for one'
  assert.equal(because(chosen, 'providers.a-process'), why)
  assert.equal(plan({ facts: walls, verdict: asks.verdict }).profile.provider, 'a-isolate')
  const named = plan({ facts: walls, ...asks, asked: { capture: true, tier: 'process' } })
  assert.equal(because(named, 'capture'), 'asked, but provider "a-process" makes none')
  const none = plan({ facts: [factsOf('isolate')], ...asks })
  assert.equal(none.kind === 'run' && none.fallsShort, true)
  const realm = plan({ facts: walls, asked: { capture: true } })
  assert.equal(realm.kind === 'run' && realm.fallsShort, undefined)
  assert.equal(realm.profile.provider, 'a-isolate')
  const unread = 'asked, but code of "js" is not captured: "node" is'
  assert.equal(because(realm, 'capture'), unread)
})

test('a schedule that closes comes before a capture where no wall does both', () => {
  const phases = [
    { name: 'full', for: '1s' },
    { name: 'slow', for: '1s', cpu: 0.5 },
  ]
  const config = { schedules: { default: { phases } } }
  const closing = factsOf('process', { tightens: ['cpu'] })
  const walls = [factsOf('isolate'), closing, factsOf('gvisor', { can: ['capture-memory'] })]
  const asks = { verdict: { language: 'python' }, asked: { capture: true } } as const
  const chosen = plan({ config, facts: walls, ...asks })
  assert.equal(chosen.profile.provider, 'a-process')
  assert.equal(chosen.kind === 'run' && chosen.fallsShort, true)
})

test('processor time is unlimited unless a job, a configuration or a ceiling limits it', () => {
  const limitOf = (config: object, asked: JobRequest = {}) => {
    const made = plan({ config, facts: [factsOf('isolate')], asked })
    return [made.profile.limits.cpuTime, because(made, 'limits.cpuTime')]
  }
  assert.deepEqual(limitOf({}), [undefined, undefined])
  assert.deepEqual(limitOf({}, { limits: { cpuTime: '2s' } }), [2000, 'asked'])
  const configured = { limits: { cpu_time: '3s' } }
  assert.deepEqual(limitOf(configured), [3000, 'limits.cpu_time'])
  const capped = { ...configured, ceilings: { cpu_time: '1s' } }
  const ceiling = [1000, 'ceilings.cpu_time']
  assert.deepEqual(limitOf(capped, { limits: { cpuTime: '2s' } }), ceiling)
})

test('a wall is made with the memory and the processes of the first phase, and needs not to be tightened to them', () => {
  const phases = [{ name: 'used', for: '1s', memory: '8MB', processes: 2 }]
  const config = { schedules: { default: { phases } } }
  const both = ['memory', 'processes'] as const
  const isolate = factsOf('isolate', { enforces: both })
  const walls = [isolate, factsOf('process', { enforces: both, tightens: both })]
  const made = plan({ config, facts: walls })
  assert.equal(made.profile.provider, 'a-isolate')
  const bounds = [8 * 2 ** 20, 2]
  const boundsOf = ({ profile: { controls, limits } }: Plan) =>
    [controls, limits].map(({ memory, processes }) => [memory, processes])
  assert.deepEqual(boundsOf(made), [bounds, bounds])
  assert.equal(because(made, 'limits.memory'), 'schedules.default: first phase')
  assert.equal(end({ config, facts: [factsOf('isolate')] }), 'unavailable UNAVAILABLE')
  const later = { begin_at: { suspect: 'less', plain: 'less' } }
  const two = [
    { name: 'full', for: '1s' },
    { ...phases[0]!, name: 'less' },
  ]
  const begins = { schedules: { default: { phases: two, ...later } } }
  const begun = plan({ config: begins, facts: walls })
  assert.equal(begun.profile.provider, 'a-isolate')
  assert.deepEqual(boundsOf(begun), [bounds, bounds])
})

test('the default escalation yields to no weaker wall for zones of programs', () => {
  const splits = factsOf('process', { can: ['network', 'program-zones'] })
  const risky = { config: zoned, risk: 60, verdict: { language: 'sh' } } as const
  const plainer = factsOf('process', { name: 'a-plainer' })
  assert.equal(end({ ...risky, facts: [plainer, splits] }), 'a-process')
  const made = plan({ ...risky, facts: [splits, factsOf('gvisor')] })
  assert.equal(made.kind, 'unavailable')
  const details = made.kind === 'unavailable' ? made.error.details : undefined
  assert.match(JSON.stringify(details), /Choose a schedule without zones of programs/)
})

test('an unread package requires a stronger wall, and restrains limits no more than plain code', () => {
  const finding = { name: 'UNREAD_DEPENDENCY', score: 60, kind: 'threat' } as const
  const verdict = { findings: [finding] as unknown as Verdict['findings'] }
  const unread = plan({ risk: 60, verdict, facts: plainMachine }).profile
  const suspect = plan({ risk: 60, facts: plainMachine }).profile
  assert.equal(unread.tier, 'process')
  assert.deepEqual([unread.limits.cpu, suspect.limits.cpu], [0.75, 0.25])
})

test('Attack: code that ran beside an unread package is restrained once its files contain a threat of the same risk', () => {
  const unread = { name: 'UNREAD_DEPENDENCY', score: 60, kind: 'threat' } as const
  const threat = { name: 'OBFUSCATION', score: 60, kind: 'threat' } as const
  const profiler = createProfiler({ config: configOf(), providers: () => plainMachine })
  const cpu = [unread, threat, unread].map((finding) => {
    const findings = [finding] as unknown as Verdict['findings']
    return profiler(jobOf({}), verdictOf(60, { findings })).profile.limits.cpu
  })
  assert.deepEqual(cpu, [0.75, 0.25, 0.75])
})

const digest = 'a'.repeat(64)
const machine = factsOf('microvm', { images: { python: 'python', node: 'node', sh: 'node' } })
const inPython = { asked: { tier: 'microvm' }, verdict: { language: 'python' } } as const

/** Plan of a job on a machine, with these image lookups. */
function machinePlan(images?: ImageAnswers, more: JobRequest = {}): Plan {
  const job = jobOf({ ...inPython.asked, ...more })
  const context = { config: configOf(), facts: [...leastFacts, machine] }
  return makePlan(job, verdictOf(0, inPython.verdict), { ...context, ...(images && { images }) })
}

test('A job without an image on a machine has the digest of the default image in its profile', () => {
  const admitted = { kind: 'admitted', digest, scanned: 'it was never scanned' } as const
  const made = machinePlan(new Map([['python', admitted]]))
  assert.deepEqual([made.kind, made.profile.image], ['run', `sha256:${digest}`])
  assert.equal(because(made, 'image'), '"python" of tier "microvm"; it was never scanned')
  const unknown = machinePlan()
  assert.deepEqual([unknown.kind, unknown.profile.image], ['run', 'python'])
  assert.equal(because(unknown, 'image'), '"python" of tier "microvm"; not looked up')
})

test('A machine whose default image is refused runs no job without an image; a job that names another image is unaffected', () => {
  const error = { code: 'IMAGE_REFUSED', message: 'Cannot use image "python": TOO_SEVERE' }
  const refused = machinePlan(new Map([['python', { kind: 'refused', error } as const]]))
  assert.ok(refused.kind === 'unavailable')
  assert.equal(refused.error.code, 'IMAGE_REFUSED')
  const able = factsOf('microvm', { ...machine, can: ['image'] })
  const job = jobOf({ ...inPython.asked, image: 'other' })
  const answers: ImageAnswers = new Map([
    ['python', { kind: 'refused', error }],
    ['other', { kind: 'admitted', digest, scanned: '' }],
  ])
  const named = makePlan(job, verdictOf(0, inPython.verdict), {
    config: configOf(),
    facts: [able],
    images: answers,
  })
  assert.deepEqual([named.kind, named.profile.image], ['run', `sha256:${digest}`])
})

test('A job and a session of one source, language and request have a plan each, whichever is first', () => {
  const config = configOf({ ceilings: { timeout: '2s' }, sandboxes: { lifetime: '1h' } })
  for (const firstIsSession of [true, false]) {
    const profile = createProfiler({ config, providers: () => leastFacts })
    const timeoutOf = (isSession: boolean) =>
      profile({ ...jobOf(), ...(isSession && { session: { kind: 'open' } as const }) }, verdictOf())
        .profile.limits.timeout
    const [first, second] = [timeoutOf(firstIsSession), timeoutOf(!firstIsSession)]
    const [job, session] = firstIsSession ? [second, first] : [first, second]
    assert.deepEqual([job, session], [2_000, 3_600_000])
  }
})

test('A plan made before the image lookup is replaced afterwards', () => {
  let images: ImageAnswers | undefined
  const facts = [...leastFacts, machine]
  const profile = createProfiler({
    config: configOf(),
    providers: () => facts,
    images: () => images,
  })
  const [job, verdict] = [jobOf(inPython.asked), verdictOf(0, inPython.verdict)]
  assert.equal(profile(job, verdict).profile.image, 'python')
  images = new Map([['python', { kind: 'admitted', digest, scanned: '' }]])
  assert.equal(profile(job, verdict).profile.image, `sha256:${digest}`)
})
