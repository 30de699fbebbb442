import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  limitsOf,
  phasesOf,
  profileOf,
  scheduleOf,
  stage,
  taskOf,
} from '../../tests/sim/simulated-life.ts'
import { allControls, isWithin, noFiles, noNetwork, type Controls } from '../contract/controls.ts'
import type { Phase, Schedule, ZoneSchedule } from '../contract/phase.ts'
import type { SupervisedRun } from '../contract/pipeline.ts'
import type { Faults, Script, ScriptStep } from '../tiers/mock/script.ts'
import { pollMsMin, pollMs } from '../lives/condition-poller.ts'
import { zonesMax } from '../lives/schedule.ts'
import { answerMsMax } from '../lives/supervise.ts'
import { anomalyEntriesMax, deniedEntriesMax, timelineEntriesMax } from '../lives/timeline.ts'

type Set = Awaited<ReturnType<typeof stage>>

interface Parts {
  readonly steps?: readonly ScriptStep[]
  readonly faults?: Faults
  readonly schedule?: Schedule
  /** External actions, by time. */
  readonly deeds?: Readonly<Record<number, (set: Set) => void>>
  readonly timeout?: number
}

const three = scheduleOf(phasesOf(1000, 2000, 1000))
const operator = { actor: 'operator', reason: 'I say so' }

/** Runs a life on a simulated clock; `story` lists entries of `main` plainly, others with their zone. */
async function live({ steps = [], faults = {}, schedule = three, deeds = {}, timeout }: Parts) {
  const script: Script = () => steps
  const limits = limitsOf({ timeout: timeout ?? 60_000 })
  const set = await stage({ script, faults }, profileOf({ schedule, limits }))
  const { clock, supervisor, sandbox, io } = set
  for (const [at, deed] of Object.entries(deeds)) clock.after(Number(at), () => deed(set))
  let lived: SupervisedRun | undefined
  const life = supervisor.run(taskOf(), io).then((supervised) => (lived = supervised))
  await clock.run()
  assert(lived, 'the life did not end')
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
  assert.equal(clock.pending, 0)
  const { end, timeline, executionTime } = await life
  const story = timeline.map(({ at, zone, event, phase }) =>
    [Math.round(at), ...(zone === 'main' ? [] : [zone]), event, ...(phase ? [phase] : [])].join(
      ' ',
    ),
  )
  return { ...set, end, timeline, story, executionTime, reason: end.error?.message }
}

/** Schedule with conditions in its first phase. */
function conditional(first: Partial<Phase>, lengths: readonly number[] = [10_000, 1000]): Schedule {
  const [one, ...rest] = phasesOf(...lengths)
  return scheduleOf([{ ...one!, ...first }, ...rest])
}

test('S2-24: an operator tightens a life for good, and learns when it is enforced', async () => {
  const answers: boolean[] = []
  const tighten = (set: Set, to: Controls) =>
    void set.supervisor.tighten(to, operator).then((held) => answers.push(held))
  const shut = { ...allControls, network: noNetwork }
  const { timeline, executionTime } = await live({
    faults: { tighten: 20 },
    deeds: {
      200: (set) => tighten(set, shut),
      300: (set) => tighten(set, shut),
      400: (set) => tighten(set, allControls),
    },
  })
  assert.deepEqual(answers, [true, true, true])
  const [first, ...rest] = timeline.filter(({ event }) => event === 'tightened')
  assert.deepEqual([first!.at, first!.reason], [220, 'operator: I say so'])
  assert.deepEqual(first!.controls, { network: noNetwork })
  // The network is closed already, so the second phase closes only the rest.
  assert.deepEqual(
    rest.map(({ at, controls }) => [at, controls]),
    [[3020, { files: noFiles }]],
  )
  assert.equal(executionTime, 4000)
})

test('A control closed by an operator stays closed in every later phase', async () => {
  const loose = phasesOf(500, 500).map((phase) => ({ ...phase, controls: allControls }))
  const told: Controls[] = []
  await live({
    schedule: scheduleOf(loose),
    deeds: {
      100: ({ supervisor, sandbox }) => {
        const tighten = sandbox.tighten.bind(sandbox)
        Object.assign(sandbox, { tighten: (to: Controls) => (told.push(to), tighten(to)) })
        void supervisor.tighten({ ...allControls, cpu: 1 }, operator)
        void supervisor.tighten({ ...allControls, cpu: 3, memory: 5 }, operator)
      },
    },
  })
  assert.deepEqual(
    told.map(({ cpu, memory }) => [cpu, memory === 5]),
    [
      [1, false],
      [1, true],
    ],
  )
  assert(isWithin(told[1]!, told[0]!))
})

test('An order that the wall cannot enforce ends the phase, and the caller gets an error', async () => {
  const answers: boolean[] = []
  const { story } = await live({
    faults: { tighten: ['cpu'] },
    deeds: {
      200: ({ supervisor }) =>
        void supervisor
          .tighten({ ...allControls, cpu: 1 }, operator)
          .then((held) => answers.push(held)),
    },
  })
  assert.deepEqual(answers, [false])
  assert.deepEqual(story.slice(0, 3), [
    '0 phase phase-0',
    '200 advanced phase-0',
    '200 phase phase-1',
  ])
})

test('An operator ends a life once, with actor and reason in the timeline', async () => {
  const { end, executionTime, reason, timeline } = await live({
    deeds: {
      700: ({ supervisor }) => {
        supervisor.terminate(operator)
        supervisor.terminate({ ...operator, reason: 'again' })
      },
    },
  })
  assert.deepEqual([end.status, executionTime, reason], ['terminated', 700, 'operator: I say so'])
  assert.equal(timeline.at(-1)!.reason, 'operator: I say so')
})

test('A command before the release applies from the start, and one for an unknown zone is refused', async () => {
  const set = await stage({ script: () => [{ result: 1 }] }, profileOf({ schedule: three }))
  const { supervisor, clock, io } = set
  assert.equal(await supervisor.tighten({ ...allControls, network: noNetwork }, operator), true)
  await assert.rejects(supervisor.tighten(allControls, { ...operator, zone: 'x' }), {
    code: 'NOT_FOUND',
  })
  assert.throws(() => supervisor.terminate({ ...operator, zone: 'x' }), { code: 'NOT_FOUND' })
  const life = supervisor.run(taskOf(), io)
  await clock.run()
  assert.equal((await life).end.status, 'ok')
  assert.equal(await supervisor.tighten({ ...allControls, cpu: 0 }, operator), true)
  const ended = await stage({ script: () => [] }, profileOf({ schedule: three }))
  ended.supervisor.terminate(operator)
  const { end, timeline } = await ended.supervisor.run(taskOf(), ended.io)
  assert.deepEqual(
    [end.status, end.error?.message, timeline],
    ['terminated', 'operator: I say so', []],
  )
})

test('A condition ends its phase: within a tick by time, at once by an event', async () => {
  const byTime = await live({ schedule: conditional({ advanceIf: 'life.phaseAge >= 320' }) })
  const opened = byTime.timeline.find(({ phase }) => phase === 'phase-1')!
  assert(opened.at >= 320 && opened.at <= 320 + pollMs, `it came at ${opened.at}`)
  const call = { name: 'ccos.clock', argsText: '[]' }
  const byEvent = await live({
    schedule: conditional({ advanceIf: 'calls >= 2' }),
    steps: [
      { at: 101, call },
      { at: 733, call },
      { at: 5000, stdout: 'x' },
    ],
  })
  const [advanced, next] = byEvent.timeline.slice(1, 3)
  assert.deepEqual([advanced!.event, advanced!.reason], ['advanced', 'advance_if calls >= 2'])
  assert(next!.at >= 733 && next!.at <= 733 + pollMsMin)
})

test('An advance by a condition shortens the rest too', async () => {
  const { executionTime } = await live({
    schedule: conditional({ advanceIf: 'life.age >= 1000' }, [5000, 2000, 2000]),
  })
  assert(executionTime >= 3000 && executionTime <= 3000 + pollMs)
})

test('terminate_if ends a life, regardless of other conditions', async () => {
  const schedule = conditional({ terminateIf: 'output.bytes > 9', advanceIf: 'output.bytes > 9' })
  const { end, reason, executionTime } = await live({
    schedule,
    steps: [
      { at: 100, stdout: '123' },
      { at: 444, stdout: '1234567' },
    ],
  })
  assert.deepEqual([end.status, reason], ['terminated', 'terminate_if output.bytes > 9'])
  assert(executionTime >= 444 && executionTime <= 444 + pollMsMin)
})

test('Conditions count events of the wall and denials of the supervisor', async () => {
  const schedule = conditional({ terminateIf: 'events["egress/denied"] >= 2' })
  const denied = { point: 'egress/denied', zone: 'main', fields: {} } as const
  const { reason } = await live({
    schedule,
    deeds: { 50: ({ supervisor }) => (supervisor.notice(denied), supervisor.notice(denied)) },
  })
  assert.equal(reason, 'terminate_if events["egress/denied"] >= 2')
})

test('A condition that cannot be evaluated counts as true, with an event', async () => {
  for (const [key, event] of [
    ['advanceIf', 'advanced'],
    ['terminateIf', 'terminated'],
  ] as const) {
    const schedule = conditional({ [key]: '1 / (calls - calls) > 0' })
    const { timeline, said } = await live({ schedule })
    const line = timeline.find((entry) => entry.event === event)!
    assert.match(line.reason!, /division by zero/)
    const undecided = said.filter(({ point }) => point === 'phase/undecided')
    assert.equal(undecided.length, 1)
    assert.match(String(undecided[0]!.fields['reason']), /division by zero/)
  }
})

test('A condition on CPU time cannot be evaluated if the wall reports none', async () => {
  const schedule = conditional({ terminateIf: 'life.cpu > 1000' })
  const { executionTime, reason } = await live({
    schedule,
    deeds: { 0: ({ sandbox }) => void Object.assign(sandbox, { cpuTime: undefined }) },
  })
  assert(executionTime <= pollMs)
  assert.match(reason!, /^terminate_if life\.cpu > 1000: /)
  const told = await live({ schedule, steps: [{ at: 300, cpu: 1001 }], timeout: 5000 })
  assert(told.executionTime >= 300 && told.executionTime <= 300 + pollMs)
})

test('An event flood causes a bounded number of evaluations', async () => {
  const steps = Array.from({ length: 500 }, () => ({ at: 100, stdout: 'x' }))
  let looks = 0
  const schedule = conditional({ advanceIf: 'output.bytes > 1000000' }, [1000])
  await live({
    schedule,
    steps,
    deeds: {
      0: ({ sandbox }) => Object.assign(sandbox, { cpuTime: () => ((looks += 1), 0) }),
    },
  })
  assert(looks <= 1000 / pollMs + 5, `it was looked at ${looks} times`)
})

test('A CPU clock ends phases early, never late', async () => {
  const schedule = { ...three, clock: 'cpu' } as const
  const { story, executionTime } = await live({
    schedule,
    steps: [
      { at: 100, cpu: 1200 },
      { at: 500, cpu: 3000 },
      { at: 4000, stdout: '' },
    ],
  })
  const at = (phase: string) =>
    Number(story.find((line) => line.endsWith(`phase ${phase}`))!.split(' ')[0])
  assert(at('phase-1') >= 100 && at('phase-1') <= 100 + pollMs)
  assert(at('phase-2') >= 500 && at('phase-2') <= 500 + pollMs)
  assert(executionTime <= at('phase-2') + 1000)
  const idle = await live({ schedule, steps: [{ at: 100, cpu: 5 }] })
  assert.equal(idle.executionTime, 4000)
})

test('A CPU clock of a zone ends its phases by the CPU time of the zone', async () => {
  const phases = phasesOf(1000, 1000)
  const parsing: ZoneSchedule = { ...scheduleOf(phases), clock: 'cpu' }
  const schedule = { ...scheduleOf(phasesOf(5000)), zones: { parsing } }
  for (const [cpu, most] of [
    [1200, 300 + pollMs],
    [5, 1100],
    [undefined, 1100],
  ] as const) {
    const { story } = await live({
      schedule,
      deeds: {
        0: ({ sandbox }) => {
          sandbox.cpuTime = (zone) => (zone === 'z' ? cpu : 0)
          sandbox.endZone = async () => undefined
        },
        100: ({ supervisor }) => supervisor.zone('z', 'parsing'),
      },
    })
    const next = Number(story.find((line) => line.endsWith('z phase phase-1'))!.split(' ')[0])
    assert.ok(next <= most && next >= (cpu === 1200 ? 100 : most), `${next} for ${cpu} ms`)
  }
})

const found = (severity: string, zone = 'main') =>
  ({ point: 'anomaly/found', zone, fields: { severity, reason: 'odd' } }) as const

test('S2-15: an anomaly advances the phase at once and shortens the rest, by severity', async () => {
  const { story, timeline, executionTime } = await live({
    deeds: {
      100: ({ supervisor }) => supervisor.notice(found('low')),
      200: ({ supervisor }) => supervisor.notice(found('medium')),
    },
  })
  assert.deepEqual(story.slice(0, 6), [
    '0 phase phase-0',
    '100 anomaly',
    '200 anomaly',
    '200 advanced phase-0',
    '200 phase phase-1',
    '200 tightened phase-1',
  ])
  assert.deepEqual(timeline[2]!.fields, { severity: 'medium' })
  assert.equal(timeline[3]!.reason, 'anomaly medium: odd')
  assert.equal(executionTime, 200 + 1000 + 500)
})

test('S3-40: reported anomalies never lower the score, or raise it above its maximum', async () => {
  const { timeline } = await live({
    deeds: {
      100: ({ supervisor }) => {
        for (const behaviorScore of [12, 10, -5, 1e9, NaN, '99', 14])
          supervisor.notice({ ...found('low'), fields: { severity: 'low', behaviorScore } })
      },
    },
  })
  assert.deepEqual(
    timeline.flatMap(({ event, fields }) => (event === 'anomaly' ? fields?.['behaviorScore'] : [])),
    [12, 12, 12, 12, 12, 12, 14],
  )
})

test('S2-16: a severe anomaly, or one of unknown severity, ends a life at once', async () => {
  for (const severity of ['high', 'whatever']) {
    const { end, executionTime, reason } = await live({
      deeds: { 250: ({ supervisor }) => supervisor.notice(found(severity)) },
    })
    assert.deepEqual([end.status, executionTime, reason], ['terminated', 250, 'anomaly high: odd'])
  }
})

test("The tighten reaction applies the next phase's controls without changing times", async () => {
  const schedule = {
    ...three,
    onAnomaly: { low: 'tighten', medium: 'tighten', high: 'freeze' },
  } as const
  const deeds = {
    100: ({ supervisor }: Set) => supervisor.notice(found('low')),
    3500: ({ supervisor }: Set) => supervisor.notice(found('low')),
  }
  const { timeline, executionTime } = await live({ schedule, deeds })
  const closed = timeline.filter(({ event }) => event === 'tightened')
  assert.deepEqual(
    closed.map(({ at, controls }) => [at, Object.keys(controls!)]),
    [
      [100, ['network']],
      [3000, ['files']],
      [3500, ['capabilities']],
    ],
  )
  assert.equal(executionTime, 4000)
})

test('A frozen guest keeps aging, and a wall that cannot freeze is ended', async () => {
  const schedule = { ...three, onAnomaly: { ...three.onAnomaly, high: 'freeze' } } as const
  const deeds = { 100: ({ supervisor }: Set) => supervisor.notice(found('high')) }
  const frozen = await live({ schedule, deeds, faults: { freeze: 'works' } })
  assert(frozen.story.includes('100 frozen'))
  assert.equal(frozen.executionTime, 4000)
  const cannot = await live({ schedule, deeds })
  assert.deepEqual([cannot.end.status, cannot.executionTime], ['terminated', 100])
  assert.match(cannot.reason!, /^anomaly high: odd: Cannot freeze/)
})

/** Two kinds of zones in one life. */
function zoned(zones: Readonly<Record<string, readonly Phase[]>>): Schedule {
  const { onAnomaly, shorten } = three
  const course = (phases: readonly Phase[]): ZoneSchedule => ({ phases, onAnomaly, shorten })
  return {
    ...three,
    zones: Object.fromEntries(
      Object.entries(zones).map(([kind, phases]) => [kind, course(phases)]),
    ),
  }
}

const withZones = zoned({
  'input-validation': [{ name: 'brief', for: 200, controls: { ...allControls, cpu: 1 } }],
  compute: phasesOf(900, 900),
})

test('S2-11: two zones follow the schedules of their kinds, and input validation ends first', async () => {
  const { story, timeline, end, said } = await live({
    schedule: withZones,
    deeds: {
      50: ({ supervisor }) => {
        supervisor.zone('a', 'input-validation')
        supervisor.zone('b', 'compute')
        supervisor.zone('a', 'compute')
      },
    },
  })
  assert.deepEqual(story, [
    '0 phase phase-0',
    '50 a zone',
    '50 b zone',
    '50 a tightened brief',
    '250 a terminated',
    '950 b phase phase-1',
    '950 b tightened phase-1',
    '1000 phase phase-1',
    '1000 tightened phase-1',
    '1850 b terminated',
    '3000 phase phase-2',
    '3000 tightened phase-2',
    '4000 terminated',
  ])
  assert.equal(end.status, 'timeout')
  assert.deepEqual(timeline[3]!.controls, { cpu: 1 })
  const count = (point: string) => said.filter((one) => one.point === point).length
  assert.equal(count('phase/opened'), count('phase/closed') + count('phase/terminated'))
})

test('An anomaly is handled in its zone, and in main if the zone is unknown', async () => {
  const { story, executionTime } = await live({
    schedule: withZones,
    deeds: {
      50: ({ supervisor }) => supervisor.zone('b', 'compute'),
      100: ({ supervisor }) => supervisor.notice(found('high', 'b')),
      150: ({ supervisor }) => supervisor.notice(found('high', 'b')),
      600: ({ supervisor }) => supervisor.notice(found('high', 'c')),
    },
  })
  assert(story.includes('100 b terminated'))
  assert.equal(executionTime, 600)
})

test('A zone of unknown kind follows the whole program, and ends once', async () => {
  const { story } = await live({
    schedule: withZones,
    deeds: {
      50: ({ supervisor }) => supervisor.zone('z', 'nothing-of-the-kind'),
      1500: ({ supervisor }) => (supervisor.gone('z'), supervisor.gone('z')),
    },
  })
  assert.deepEqual(
    story.filter((line) => line.includes(' z ')),
    ['50 z zone', '1000 z tightened z', '1500 z zone'],
  )
})

test('A zone that the wall cannot end in time ends the whole program', async () => {
  for (const endZone of ['throws', 'never'] as const) {
    const { end, executionTime, reason } = await live({
      schedule: withZones,
      faults: { endZone },
      deeds: { 100: ({ supervisor }) => supervisor.zone('a', 'input-validation') },
    })
    assert.equal(end.status, 'terminated')
    assert(executionTime <= 300 + answerMsMax)
    assert.match(reason!, /^Cannot end zone "a": /)
  }
})

test('An operator tightens and ends one zone, and the others go on', async () => {
  const { story, end } = await live({
    schedule: withZones,
    deeds: {
      50: ({ supervisor }) => {
        supervisor.zone('a', 'compute')
        supervisor.zone('b', 'compute')
      },
      100: ({ supervisor }) =>
        void supervisor.tighten({ ...allControls, cpu: 1 }, { ...operator, zone: 'a' }),
      200: ({ supervisor }) => supervisor.terminate({ ...operator, zone: 'a' }),
    },
  })
  assert(story.includes('100 a tightened phase-0') && story.includes('200 a terminated'))
  assert(story.includes('1850 b terminated'))
  assert.equal(end.status, 'timeout')
})

test('Zones are limited: each further one is ended as it begins', async () => {
  const ended: string[] = []
  const tightened: (string | undefined)[] = []
  await live({
    deeds: {
      100: ({ supervisor, sandbox }) => {
        const tighten = sandbox.tighten.bind(sandbox)
        Object.assign(sandbox, {
          endZone: (zone: string) => Promise.resolve(void ended.push(zone)),
          tighten: (to: Controls, zone?: string) => (tightened.push(zone), tighten(to, zone)),
        })
        for (let zone = 0; zone < zonesMax + 3; zone++) supervisor.zone(`z${zone}`, 'any')
        assert.throws(() => supervisor.zone('z'.repeat(65), 'any'), { code: 'INVALID' })
        assert.throws(() => supervisor.zone('', 'any'), { code: 'INVALID' })
      },
    },
  })
  assert.deepEqual(ended, [`z${zonesMax}`, `z${zonesMax + 1}`, `z${zonesMax + 2}`])
  assert.equal(new Set(tightened).size, zonesMax + 1)
})

test('A flood of guest entries hides no tightening in the timeline', async () => {
  const shut = { ...allControls, capabilities: [] }
  const phases = [
    { name: 'shut', for: 500, controls: shut },
    { name: 'quiet', for: 500, controls: { ...shut, network: noNetwork } },
  ]
  const { timeline } = await live({
    schedule: scheduleOf(phases),
    deeds: {
      100: ({ supervisor }) => {
        for (let times = 0; times < 3000; times++) supervisor.notice(found('low'))
      },
    },
  })
  assert(timeline.length < timelineEntriesMax)
  const anomalies = timeline.filter(({ event }) => event === 'anomaly')
  assert.equal(anomalies.length, anomalyEntriesMax / 2)
  for (const event of ['phase', 'tightened'] as const)
    assert.equal(timeline.findLast((line) => line.event === event)?.phase, 'quiet')
})

test('S2-29: a denied connection is in the timeline with target and reason', async () => {
  const notice = { point: 'egress/denied', zone: 'main' } as const
  const host = 'x'.repeat(1000)
  const { timeline } = await live({
    deeds: {
      100: ({ supervisor }) => {
        const fields = { host: 'a.example', port: 443, because: 'it is not among those' }
        supervisor.notice({ ...notice, fields })
        supervisor.notice({ ...notice, fields: { host, port: '1', because: host } })
      },
    },
  })
  const [first, second] = timeline.filter(({ event }) => event === 'denied')
  assert.deepEqual(first, {
    at: 100,
    zone: 'main',
    event: 'denied',
    reason: 'it is not among those',
    fields: { host: 'a.example', port: 443 },
  })
  assert.deepEqual(second?.fields, { host: 'x'.repeat(253) })
  assert.equal(second.reason?.length, 200)
})

test('A flood of denials hides no anomaly in the timeline', async () => {
  const notice = { point: 'egress/denied', zone: 'main', fields: {} } as const
  const { timeline } = await live({
    deeds: {
      100: ({ supervisor }) => {
        for (let times = 0; times < 2 * timelineEntriesMax; times++) supervisor.notice(notice)
        supervisor.notice(found('low'))
      },
    },
  })
  const count = (word: string) => timeline.filter(({ event }) => event === word).length
  assert.deepEqual([count('denied'), count('anomaly')], [deniedEntriesMax, 1])
})
