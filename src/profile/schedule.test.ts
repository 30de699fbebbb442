import assert from 'node:assert/strict'
import { test } from 'node:test'
import { configOf, factsOf, jobOf, verdictOf } from '../../tests/fixtures/profile-world.ts'
import { isWithin } from '../contract/controls.ts'
import type { Job, JobRequest } from '../contract/job.ts'
import { presetNames } from '../contract/presets.ts'
import { makePlan } from './make-profile.ts'

const brief = { phases: [{ name: 'brief', for: '1s', network: 'none' }] }
const long = {
  phases: [
    { name: 'full', for: '5s' },
    { name: 'no-network', for: '10s', network: 'none' },
  ],
}
/** Like `long`, but shorter and tighter from the start. */
const shorter = {
  phases: [
    { name: 'full', for: '2s', cpu: 0.5 },
    { name: 'shut', for: '3s', network: 'none', capabilities: 'none' },
  ],
}
const wasmBound = { for_capabilities: ['webassembly'] }
const facts = [factsOf('isolate')]

function planned(
  schedules: Record<string, unknown>,
  asked: JobRequest = {},
  more: Partial<Job> & { readonly ceilings?: unknown } = {},
) {
  const { ceilings = {}, ...job } = more
  const config = configOf({ schedules, ceilings })
  const { profile } = makePlan({ ...jobOf(asked), ...job }, verdictOf(), { config, facts })
  const because = (field: string) => profile.explain.find((one) => one.field === field)?.because
  return { ...profile, because }
}

test('S2-10: the schedule "default" applies to a job that names none', () => {
  const { schedule, because } = planned({ default: long, brief })
  assert.deepEqual([schedule.name, because('schedule.name')], ['default', 'schedules.default'])
})

test('A job may name a schedule', () => {
  const { schedule, because } = planned({ default: long, brief }, { schedule: 'brief' })
  assert.deepEqual([schedule.name, because('schedule.name')], ['brief', 'schedules.brief: asked'])
})

test('Presets can be named only while no schedule is configured', () => {
  const { schedule, limits, because } = planned({}, { schedule: 'shrinking-life' })
  assert.deepEqual(
    schedule.phases.map(({ name }) => name),
    ['full', 'no-network', 'half-a-core'],
  )
  assert.deepEqual([limits.timeout, because('limits.timeout')], [5000, 'default'])
  assert.match(because('schedule.name') ?? '', /policies\/schedules\.json/)
  assert.throws(
    () => planned({ brief }, { schedule: 'shrinking-life' }),
    /Cannot find the schedule/,
  )
  assert.throws(() => planned({}, { schedule: 'constructor' }), /Cannot find the schedule/)
})

test('A preset has no more time than a configured default', () => {
  const config = configOf({ limits: { timeout: '1s' } })
  for (const schedule of presetNames) {
    const { profile } = makePlan(jobOf({ schedule }), verdictOf(), { config, facts })
    assert.equal(profile.limits.timeout, 1000, schedule)
  }
})

test('Honeytokens follow the schedule, and a bound job cannot drop them', () => {
  const planting = { ...long, honeytokens: true, for_origins: ['page'] }
  const { schedule, because } = planned({ long, planting }, {}, { origin: 'page' })
  assert.equal(schedule.honeytokens, true)
  assert.equal(because('schedule.honeytokens'), because('schedule.name'))
  assert.equal(planned({ default: long }).schedule.honeytokens, undefined)
  const left = planned({ long, planting }, { schedule: 'long' }, { origin: 'page' })
  assert.equal(left.schedule.name, 'planting')
})

test('S2-11: schedules bound to a capability and to an origin apply together, before the default', () => {
  const schedules = {
    default: long,
    page: { ...brief, for_origins: ['page', 'event'] },
    wasm: { ...shorter, for_capabilities: ['webassembly'] },
  }
  const wasm: JobRequest = { capabilities: ['webassembly'] }
  assert.equal(planned(schedules, {}, { origin: 'http' }).schedule.name, 'default')
  const onPage = planned(schedules, {}, { origin: 'page' })
  assert.equal(onPage.because('schedule.phases'), 'schedules.page: for origin "page"')
  assert.equal(onPage.schedule.name, 'page')
  const both = planned(schedules, wasm, { origin: 'page' })
  assert.equal(
    both.because('schedule.name'),
    'schedules.page: for origin "page"; schedules.wasm: for capability "webassembly"',
  )
  const [phase, ...others] = both.schedule.phases
  assert.deepEqual([both.schedule.name, others], ['page + wasm', []])
  assert.deepEqual([phase!.for, phase!.controls.cpu], [1000, 0.5])
  const wasmAlone = planned(schedules, wasm, { origin: 'http' })
  assert.equal(wasmAlone.schedule.name, 'wasm')
  // Each is the shorter one in one phase, and has fewer rights in another.
  const page = {
    phases: [
      { name: 'one', for: '1s', processes: 9 },
      { name: 'two', for: '9s', network: 'none' },
    ],
    for_origins: ['page'],
  }
  const network = { allow: ['api.example.com'] }
  const crossed = planned({ ...schedules, page }, { ...wasm, network }, { origin: 'page' })
  assert.deepEqual(
    crossed.schedule.phases.map(
      ({ for: ms, controls: { cpu, processes, network, capabilities } }) => [
        ms,
        cpu,
        processes,
        network.allow.length,
        capabilities,
      ],
    ),
    [
      [1000, 0.5, 9, 1, ['webassembly']],
      [3000, 0.5, 9, 0, []],
    ],
  )
})

test('A job cannot get a looser schedule by a capability that it requests', () => {
  const strict = { ...shorter, for_origins: ['page'] }
  const loose = { ...long, for_capabilities: ['webassembly'] }
  const wasm: JobRequest = { capabilities: ['webassembly'] }
  const on = (schedules: Record<string, unknown>, asked: JobRequest = wasm) =>
    planned(schedules, asked, { origin: 'page' })
  assert.equal(on({ strict, loose }).schedule.name, 'strict')
  // A short life with more rights is no stricter than a long one with fewer.
  const quick = {
    phases: [{ name: 'quick', for: '1s' }],
    on_anomaly: { medium: 'record', high: 'record' },
    shorten: 1,
    for_capabilities: ['math.add'],
  }
  const asked: JobRequest = { capabilities: ['webassembly', 'math.add'] }
  for (const bound of [
    { strict, quick },
    { tight: { ...shorter, ...wasmBound }, quick },
  ]) {
    const { schedule } = on(bound, asked)
    const [phase, ...others] = schedule.phases
    assert.deepEqual([phase!.for, phase!.controls.cpu, others], [1000, 0.5, []])
    assert.deepEqual([schedule.onAnomaly.high, schedule.shorten], ['terminate', 0.5])
  }
})

test('At most one of two bound schedules has conditions, zones or a first phase by trust; with two such the job is refused', () => {
  const phases = [
    { ...shorter.phases[0], advance_if: 'calls > 3' },
    { ...shorter.phases[1], terminate_if: 'output.bytes > 10' },
    { name: 'later', for: '1s', network: 'none', capabilities: 'none' },
  ]
  const begin_at = { suspect: 'later', plain: 'shut' } as const
  const special = { phases, begin_at, clock: 'cpu', zones: { small: brief } }
  const asked: JobRequest = { capabilities: ['webassembly'] }
  const on = (first: object, second: object) =>
    planned(
      { first: { ...first, for_origins: ['page'] }, second: { ...second, ...wasmBound } },
      asked,
      { origin: 'page' },
    ).schedule
  for (const [first, second] of [
    [special, long],
    [long, special],
  ] as const) {
    const { phases: left, clock, zones } = on(first, second)
    assert.deepEqual(
      left.map(({ name, terminateIf }) => [name, terminateIf]),
      [['shut', 'output.bytes > 10']],
    )
    assert.deepEqual([clock, Object.keys(zones!)], ['cpu', ['small']])
    const { phases: all } = on({ ...first, begin_at: {} }, { ...second, begin_at: {} })
    assert.deepEqual(
      all.map(({ name, advanceIf, terminateIf }) => [name, advanceIf, terminateIf]),
      [
        ['full', 'calls > 3', undefined],
        ['shut', undefined, 'output.bytes > 10'],
      ],
    )
  }
  const plainly = { ...special, begin_at: {} }
  for (const other of [special, plainly])
    assert.throws(() => on(other, plainly), /Cannot apply both of the sched/)
})

test('A bound schedule can be replaced only by one that is not looser in any phase', () => {
  const bound = { ...long, for_origins: ['page'] }
  const named = (schedules: Record<string, unknown>, schedule: string) =>
    planned(schedules, { schedule }, { origin: 'page' })
  assert.equal(named({ bound, shorter }, 'shorter').schedule.name, 'shorter')
  const looser = {
    'later over': { phases: [{ name: 'a', for: '6s' }] },
    'allows more': { phases: [long.phases[0], { name: 'b', for: '1s' }] },
    'more phases': { phases: [...shorter.phases, { name: 'c', for: 1 }] },
    milder: { ...shorter, on_anomaly: { high: 'record' } },
    'shortens less': { ...shorter, shorten: 0.9 },
    'a longer phase': {
      phases: [
        { name: 'a', for: '2s', cpu: 0.5 },
        { ...shorter.phases[1], for: '11s' },
      ],
    },
    'another reaction': { ...shorter, on_anomaly: { medium: 'tighten' } },
  }
  for (const [why, other] of Object.entries(looser)) {
    const { schedule, because } = named({ bound, other }, 'other')
    assert.equal(schedule.name, 'bound', why)
    assert.match(
      because('schedule.name')!,
      /^schedules\.bound: for origin "page"; "other" is not known to be as strict$/,
    )
  }
  for (const more of [
    { clock: 'cpu' },
    { phases: [{ ...long.phases[0], advance_if: 'calls > 1' }, long.phases[1]] },
    { zones: { small: brief } },
  ]) {
    const { schedule, because } = named({ bound: { ...bound, ...more }, shorter }, 'shorter')
    assert.equal(schedule.name, 'bound')
    assert.match(because('schedule.name')!, /; "shorter" is not known to be as strict$/)
  }
})

test('Without a requested timeout a life is as long as its schedule, within the ceilings', () => {
  const { limits, because } = planned({ default: long })
  assert.deepEqual([limits.timeout, because('limits.timeout')], [15_000, 'schedules.default'])
  assert.equal(planned({ default: long }, { limits: { timeout: '1s' } }).limits.timeout, 1000)
  const held = planned({ default: long }, {}, { ceilings: { timeout: '7s' } })
  assert.deepEqual(
    [held.limits.timeout, held.because('limits.timeout')],
    [7000, 'ceilings.timeout'],
  )
  assert.equal(planned({}).limits.timeout, 5000)
})

test('S2-11: zones of a kind have their own phases, within the grants; input validation the shortest', () => {
  const zones = {
    'input-validation': { phases: [{ name: 'brief', for: '200ms', files: 'none' }], clock: 'cpu' },
    compute: { phases: [{ name: 'work', for: '3s' }] },
  }
  const { schedule, controls, explain } = planned({ default: { ...long, zones } })
  const { 'input-validation': validation, compute } = schedule.zones!
  assert.deepEqual([validation!.clock, compute!.clock], ['cpu', undefined])
  assert(validation!.phases[0]!.for < compute!.phases[0]!.for)
  for (const zone of [validation!, compute!])
    for (const phase of zone.phases) assert(isWithin(phase.controls, controls))
  assert.deepEqual(explain.find(({ field }) => field === 'schedule.zones')?.value, {
    'input-validation': ['brief 200 ms'],
    compute: ['work 3000 ms'],
  })
})

test('Conditions and the clock of a schedule are in the profile, and explained', () => {
  const phases = [
    { name: 'a', for: '1s', advance_if: 'calls > 3' },
    { name: 'b', for: '1s', network: 'none', terminate_if: 'output.bytes > 10' },
  ]
  const { schedule, explain } = planned({ default: { phases, clock: 'cpu' } })
  assert.deepEqual(
    [schedule.clock, schedule.phases[0]!.advanceIf, schedule.phases[1]!.terminateIf],
    ['cpu', 'calls > 3', 'output.bytes > 10'],
  )
  const value = (field: string) => explain.find((one) => one.field === field)?.value
  assert.deepEqual(value('schedule.phases'), [
    'a 1000 ms, or until calls > 3',
    'b 1000 ms; terminate if output.bytes > 10',
  ])
  assert.equal(value('schedule.clock'), 'cpu')
})

test('The same job from another origin can have another plan', () => {
  const schedules = { page: { ...brief, for_origins: ['page'] } }
  const digests = ['page', 'http'].map(
    (origin) => planned(schedules, {}, { origin: origin as Job['origin'] }).digest,
  )
  assert.notEqual(digests[0], digests[1])
})

test('S2-2: trust in the code selects the first phase', () => {
  const begins = { suspect: 'no-network', plain: 'full' }
  const schedules = { default: { ...long, begin_at: begins } }
  const config = configOf({ schedules })
  const lives = [
    verdictOf(55),
    verdictOf(55, { signatureValid: true }),
    verdictOf(10),
    verdictOf(10, { signatureValid: true }),
  ].map((verdict) => makePlan(jobOf(), verdict, { config, facts }).profile)
  assert.deepEqual(
    lives.map(({ schedule, explain }) => {
      const said = (name: string) => explain.find(({ field }) => field === name)
      const { because } = said('schedule.begins')!
      return [said('schedule.trust')?.value, schedule.phases.map(({ name }) => name), because]
    }),
    [
      ['suspect', ['no-network'], 'schedules.default: begin_at.suspect'],
      ['suspect', ['no-network'], 'schedules.default: begin_at.suspect'],
      ['plain', ['full', 'no-network'], 'schedules.default: begin_at.plain'],
      ['signed', ['full', 'no-network'], 'default: the first'],
    ],
  )
})

test('S2-2: controls closed by skipped phases are closed from the start', () => {
  const phases = [
    { name: 'full', for: '1s', cpu: 0.5 },
    { name: 'fewer', for: '1s', processes: 3 },
    { name: 'shut', for: '1s', network: 'none' },
  ]
  const config = configOf({ schedules: { default: { phases, begin_at: { suspect: 'shut' } } } })
  const job = jobOf({ network: { allow: ['api.example.com'] } })
  const [plain, suspect] = [verdictOf(0), verdictOf(55)].map(
    (verdict) => makePlan(job, verdict, { config, facts }).profile.schedule.phases,
  )
  assert.deepEqual([plain!.length, suspect!.length], [3, 1])
  const { cpu, processes, network } = suspect![0]!.controls
  assert.deepEqual([cpu, processes, network.allow], [0.5, 3, []])
  assert.ok(isWithin(suspect![0]!.controls, plain![2]!.controls))
})

test('S2-2: less trusted code never begins with an earlier phase, nor with an unknown one', () => {
  const of = (begin_at: Record<string, string>) =>
    configOf({ schedules: { default: { ...long, begin_at } } })
  assert.throws(
    () => of({ plain: 'no-network' }),
    /no later than that of code that is trusted less/,
  )
  assert.throws(() => of({ suspect: 'nowhere' }), /expected one of its phases/)
  assert.ok(of({ suspect: 'no-network', plain: 'no-network', signed: 'full' }))
})
