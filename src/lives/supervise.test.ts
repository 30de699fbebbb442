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
import { allControls, noNetwork } from '../contract/controls.ts'
import type { Emitter } from '../contract/event.ts'
import type { Profile } from '../contract/profile.ts'
import type { SupervisedRun } from '../contract/pipeline.ts'
import type { Faults, Script } from '../tiers/mock/script.ts'
import { releaseMsMaxOf } from '../contract/tier.ts'
import { answerMsMax, supervise } from './supervise.ts'

const forEver: Script = () => []
const three = profileOf({ schedule: scheduleOf(phasesOf(1000, 2000, 1000)) })

interface Parts {
  readonly script?: Script
  readonly faults?: Faults
  readonly profile?: Profile
  readonly cancelAt?: number
}

/** Runs a life to its end and checks the invariants of every life. */
async function live({ script = forEver, faults = {}, profile = three, cancelAt }: Parts) {
  const set = await stage({ script, faults }, profile)
  const { clock, supervisor, sandbox, canceller, io } = set
  if (cancelAt !== undefined) clock.after(cancelAt, () => canceller.abort())
  let lived: SupervisedRun | undefined
  const life = supervisor.run(taskOf(), io).then((supervised) => (lived = supervised))
  await clock.run()
  assert(lived, 'the life did not end')
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
  assert.equal(clock.pending, 0)
  const { end, timeline, executionTime } = await life
  assert.deepEqual(set.heard, timeline)
  const story = timeline.map(({ at, event, phase }) => `${at} ${event}${phase ? ` ${phase}` : ''}`)
  return { ...set, end, timeline, executionTime, story }
}

test('A life that ends by itself reports its phase and its time, and nothing else', async () => {
  const { end, story, executionTime } = await live({ script: () => [{ at: 250, result: 1 }] })
  assert.deepEqual([end.status, end.resultText, executionTime], ['ok', '1', 250])
  assert.deepEqual(story, ['0 phase phase-0'])
})

test('Each phase closes its controls, and after the last one the sandbox is killed', async () => {
  const { end, story, timeline, executionTime } = await live({})
  assert.deepEqual([end.status, end.error?.code, executionTime], ['timeout', 'TIMEOUT', 4000])
  assert.deepEqual(story, [
    '0 phase phase-0',
    '1000 phase phase-1',
    '1000 tightened phase-1',
    '3000 phase phase-2',
    '3000 tightened phase-2',
    '4000 terminated',
  ])
  assert.deepEqual(timeline[2]!.controls, { network: noNetwork })
  assert.equal(timeline.at(-1)!.reason, 'timeout')
})

test('A phase without further closings sends the wall no order', async () => {
  const [open, shut] = phasesOf(10, 10)
  const profile = profileOf({ schedule: scheduleOf([open!, shut!, { ...shut!, name: 'same' }]) })
  const { story } = await live({ profile })
  assert.equal(story.filter((line) => line.includes('tightened')).length, 1)
})

test('A timeout shorter than the schedule ends the life', async () => {
  const profile = { ...three, limits: limitsOf({ timeout: 1500 }) }
  const { end, executionTime } = await live({ profile })
  assert.deepEqual([end.status, executionTime], ['timeout', 1500])
})

test('Controls closed by the first phase are enforced before user code is released (S1-14)', async () => {
  const controls = { ...allControls, network: noNetwork }
  const profile = profileOf({ schedule: scheduleOf([{ name: 'shut', for: 100, controls }]) })
  const { story, clock } = await live({ profile, faults: { tighten: 40 } })
  assert.deepEqual(story, ['0 phase shut', '0 tightened shut', '100 terminated'])
  assert.equal(clock.now(), 140)
  for (const tighten of ['throws', 'never', ['network']] as const) {
    const unheld = await live({ profile, faults: { tighten }, script: () => [{ result: 1 }] })
    assert.deepEqual([unheld.end.status, unheld.story], ['failed', []])
  }
})

test('A phase the wall cannot enforce is skipped for the next one, and after the last one the life is cut', async () => {
  for (const tighten of ['throws', ['network']] as const) {
    const { end, story, said } = await live({ faults: { tighten } })
    assert.equal(end.status, 'terminated')
    assert.deepEqual(story, [
      '0 phase phase-0',
      '1000 phase phase-1',
      '1000 advanced phase-1',
      '1000 phase phase-2',
      '1000 terminated',
    ])
    assert.equal(said.filter(({ point }) => point === 'control/unenforced').length, 2)
  }
})

test('A late answer to a tighten counts as a failure', async () => {
  const { end, executionTime, story } = await live({ faults: { tighten: 'never' } })
  assert.deepEqual([end.status, executionTime], ['timeout', 2500])
  assert.deepEqual(end.error?.details, { lifeMs: 2500 })
  assert.deepEqual(story.slice(1, -1), [
    '1000 phase phase-1',
    '2000 advanced phase-1',
    '2000 phase phase-2',
  ])
})

test('The kernel of a guest has ten seconds and more to close a phase, other walls have one', async () => {
  for (const tier of ['userkernel', 'microvm', 'process'] as const) {
    const schedule = scheduleOf(phasesOf(1000, 60_000))
    const profile = profileOf({ tier, schedule, limits: limitsOf({ timeout: 30_000 }) })
    const script = () => [{ at: 20_000, result: 1 }]
    const { end, story } = await live({ profile, script, faults: { tighten: 15_000 } })
    assert.equal(end.status, tier === 'process' ? 'terminated' : 'ok')
    assert.deepEqual(story.slice(1), [
      '1000 phase phase-1',
      tier === 'process' ? '2000 terminated' : '16000 tightened phase-1',
    ])
  }
})

test('A late failure of an order superseded by a stricter phase is ignored', async () => {
  const profile = profileOf({ schedule: scheduleOf(phasesOf(500, 500, 1500)) })
  const { end, executionTime } = await live({ profile, faults: { tighten: 'never' } })
  assert.deepEqual([end.status, executionTime], ['terminated', 2000])
})

test('A wall that never releases user code ends as failed, with an empty timeline', async () => {
  const { end, timeline, executionTime, clock } = await live({ faults: { release: 'never' } })
  assert.deepEqual([end.status, timeline, executionTime], ['failed', [], 0])
  assert.equal(clock.now(), releaseMsMaxOf('isolate'))
})

test('The time limit counts from the release of user code', async () => {
  const { executionTime, clock } = await live({ faults: { release: 700 } })
  assert.deepEqual([executionTime, clock.now()], [4000, 4700])
})

test('A wall that does not answer its kill ends as failed, in bounded time (S2-8)', async () => {
  const { end, executionTime, story } = await live({ faults: { kill: 'never' } })
  assert.deepEqual([end.status, executionTime], ['failed', 4000 + answerMsMax])
  assert.equal(story.at(-1), `${4000 + answerMsMax} terminated`)
})

test('An answer after the time limit does not count', async () => {
  const { end } = await live({ faults: { kill: 'ok' } })
  assert.deepEqual([end.status, end.resultText], ['timeout', 'null'])
})

test('Cancelling ends a life at once, before its start and while it runs', async () => {
  const during = await live({ cancelAt: 1200 })
  assert.deepEqual([during.end.status, during.executionTime], ['cancelled', 1200])
  assert.equal(during.timeline.at(-1)!.reason, 'cancelled')
  const set = await stage({})
  set.canceller.abort()
  const { end, timeline } = await set.supervisor.run(taskOf(), set.io)
  assert.deepEqual([end.status, timeline, set.clock.pending], ['cancelled', [], 0])
})

test('The first cause of an end wins', async () => {
  const { end, executionTime } = await live({ cancelAt: 4500, faults: { kill: 1000 } })
  assert.deepEqual([end.status, executionTime], ['timeout', 5000])
})

test('A limit or a lost wall is the last entry of the timeline', async () => {
  const limit = await live({ script: () => [{ at: 10, memory: 2 ** 40 }] })
  assert.deepEqual([limit.end.status, limit.timeline.at(-1)!.reason], ['limit', 'limit MEMORY'])
  assert(
    limit.said.some(({ point, fields }) => point === 'limit/hit' && fields['code'] === 'MEMORY'),
  )
  const crash = await live({ script: () => [{ at: 10, crash: 'the worker died' }] })
  assert.deepEqual([crash.end.status, crash.story.at(-1)], ['failed', '10 terminated'])
})

test('A limit that a guest reports has a code of the host, and trust "guest"', async () => {
  const text = `MEMORY ${'what the guest wants to have in the record '.repeat(80)}`
  for (const [code, told] of [
    [text, 'OTHER'],
    ['memory', 'OTHER'],
    ['WALL_LOST', 'OTHER'],
    ['MEMORY', 'MEMORY'],
  ] as const) {
    const { sandbox, clock, profile } = await stage({ script: () => [] })
    const end = {
      status: 'limit',
      resultText: 'null',
      encoding: 'json',
      isReported: true,
      error: { code, message: text },
      cpuTime: 0,
      artifacts: [],
    } as const
    sandbox.run = async (_task, io) => (io.released(), end)
    const events: unknown[] = []
    const emitter: Emitter = {
      emit: (point, fields, more) => {
        if (point === 'limit/hit') events.push([fields, more?.trust])
        assert.ok(!JSON.stringify(fields).includes('wants'), point)
      },
    }
    const { signal } = new AbortController()
    await using supervisor = supervise({ sandbox, profile, clock, emitter, signal })
    const io = { stdout() {}, stderr() {} }
    const { timeline, end: ended } = await supervisor.run(taskOf(), io)
    assert.equal(ended.error?.code, told)
    assert.deepEqual(events, [[{ code: told }, 'guest']])
    assert.equal(timeline.at(-1)!.reason, `limit ${told}`)
  }
})

test('Capabilities are denied as soon as their phase closes them, even if the wall permits them', async () => {
  const profile = profileOf({ schedule: scheduleOf(phasesOf(100, 100, 100, 100)) })
  const call = { name: 'ccos.clock', argsText: '[]' }
  const { timeline, end } = await live({
    profile,
    faults: { tighten: 60 },
    script: () => [{ at: 50, call }, { at: 310, call }, { result: 1 }],
  })
  const denied = timeline.filter(({ event }) => event === 'denied')
  assert.deepEqual(
    denied.map(({ at, fields }) => [at, fields]),
    [[310, { capability: 'ccos.clock' }]],
  )
  assert.equal(end.status, 'failed')
})

test('Disposing a supervisor cuts its life and leaves no timer', async () => {
  const { supervisor, sandbox, clock, io } = await stage({ script: forEver }, three)
  const life = supervisor.run(taskOf(), io)
  await clock.run(500)
  await supervisor[Symbol.asyncDispose]()
  await supervisor[Symbol.asyncDispose]()
  const { end, timeline } = await life
  assert.deepEqual([end.status, timeline.at(-1)!.event], ['terminated', 'terminated'])
  assert.equal(clock.pending, 0)
  assert.equal((await sandbox.tighten(allControls)).unenforced.length, 0)
  await assert.rejects(supervisor.run(taskOf(), io), { code: 'CONFLICT' })
})

test('Disposing a supervisor does not change the cause of an end in progress', async () => {
  const set = await stage({ script: forEver, faults: { kill: 'never' } }, three)
  const life = set.supervisor.run(taskOf(), set.io)
  await set.clock.run(10)
  set.canceller.abort()
  await set.supervisor[Symbol.asyncDispose]()
  assert.equal((await life).end.status, 'cancelled')
})

test('A second task is refused', async () => {
  const { supervisor, io } = await stage({})
  await supervisor.run(taskOf(), io)
  await assert.rejects(supervisor.run(taskOf(), io), { code: 'CONFLICT' })
})

test('Walls that violate the provider contract cannot break the supervisor', async () => {
  const broken = new Error('broken')
  const throwing = await stage({ script: forEver }, three)
  Object.defineProperty(throwing.sandbox, 'run', {
    value: () => {
      throw broken
    },
  })
  const first = await throwing.supervisor.run(taskOf(), throwing.io)
  assert.deepEqual([first.end.status, first.end.error?.message], ['failed', 'broken'])

  const early = await stage({})
  const end = { status: 'ok', resultText: '1', encoding: 'json', cpuTime: 0, artifacts: [] }
  Object.defineProperty(early.sandbox, 'run', { value: () => Promise.resolve(end) })
  assert.equal((await early.supervisor.run(taskOf(), early.io)).end.status, 'failed')

  const unkillable = await stage({ script: forEver }, three)
  Object.defineProperty(unkillable.sandbox, 'kill', {
    value: () => {
      throw broken
    },
  })
  const life = unkillable.supervisor.run(taskOf(), unkillable.io)
  await unkillable.clock.run()
  assert.equal((await life).end.status, 'failed')
})

const captured = profileOf({
  schedule: {
    ...scheduleOf(phasesOf(1000)),
    onAnomaly: { low: 'record', medium: 'record', high: 'capture' },
  },
})

test('An end of the wrong shape is a lost wall, and no exception', async () => {
  const end = { status: 'ok', resultText: '1', encoding: 'json', cpuTime: 0, artifacts: [] }
  for (const [wrong, at] of [
    [end, undefined],
    [undefined, ''],
    [{ ...end, status: 'great' }, 'status: '],
    [{ ...end, resultText: { a: 1 } }, 'resultText: '],
    [{ ...end, cpuTime: NaN }, 'cpuTime: '],
    [{ ...end, artifacts: [{ path: 'a', bytes: 'text' }] }, 'artifacts: 0: bytes: '],
  ] as const) {
    const { sandbox, supervisor, io } = await stage({ script: () => [] }, three)
    sandbox.run = async (_task, { released }) => (released(), wrong as never)
    const lived = await supervisor.run(taskOf(), io)
    if (at === undefined) {
      assert.equal(lived.end.status, 'ok')
      continue
    }
    assert.deepEqual([lived.end.status, lived.end.error?.code], ['failed', 'WALL_LOST'])
    assert.ok(lived.end.error?.message.startsWith(`The wall answered wrongly: ${at}`))
    assert.equal(lived.timeline.at(-1)?.event, 'terminated')
  }
})

test('A captured life is frozen, copied, stored, then ended', async () => {
  for (const freeze of ['works', undefined] as const) {
    const faults = freeze ? { freeze } : {}
    const { sandbox, clock, canceller, io } = await stage({ script: forEver, faults }, captured)
    const emitter = { emit: () => undefined }
    const kept: unknown[] = []
    let captures = 0
    sandbox.capture = async () => {
      captures++
      const parts = [{ name: 'a', bytes: [Buffer.from('abc')] }]
      await new Promise<void>((resolve) => void clock.after(50, resolve))
      return { kind: 'memory', parts }
    }
    const supervisor = supervise({
      sandbox,
      profile: captured,
      clock,
      emitter,
      signal: canceller.signal,
      async keep(of, capture) {
        kept.push(of)
        return capture.parts.map(({ name }) => ({ name: `kept/${name}`, size: 3, sha256: 'x' }))
      },
    })
    const fields = { severity: 'high', reason: 'odd' }
    for (const at of [200, 201])
      clock.after(at, () => supervisor.notice({ point: 'anomaly/found', zone: 'main', fields }))
    const life = supervisor.run(taskOf(), io)
    await clock.run()
    const { end, timeline, executionTime } = await life
    assert.deepEqual([end.status, executionTime < 300], ['terminated', true])
    const lines = timeline.filter(({ event }) => event === 'captured')
    assert.deepEqual([lines.length, captures], [1, freeze ? 1 : 0])
    const names = ['a', 'profile.json', 'seen.json']
    const parts = names.map((name) => ({ name: `kept/${name}`, size: 3, sha256: 'x' }))
    if (freeze) assert.deepEqual(lines[0]!.fields, { kind: 'memory', parts })
    else assert.match(String(lines[0]!.fields?.['why']), /Cannot freeze/)
    assert.deepEqual(kept, freeze ? [{ run: 'exec_1', tenant: 'default', because: 'anomaly' }] : [])
    await supervisor[Symbol.asyncDispose]()
    await sandbox[Symbol.asyncDispose]()
  }
})

test('A capture for one zone freezes and ends the whole life', async () => {
  const set = await stage({ script: forEver, faults: { freeze: 'works' } }, captured)
  const { sandbox, clock, supervisor, io } = set
  sandbox.endZone = () => Promise.resolve()
  clock.after(100, () => supervisor.zone('worker', 'parsing'))
  const fields = { severity: 'high', reason: 'odd' }
  clock.after(200, () => supervisor.notice({ point: 'anomaly/found', zone: 'worker', fields }))
  const life = supervisor.run(taskOf(), io)
  await clock.run()
  const { end, executionTime } = await life
  assert.deepEqual([end.status, executionTime < 300], ['terminated', true])
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
})

test('A zone that was ordered to end, and ends with the program, has the reason of its order', async () => {
  const set = await stage({ script: () => [{ at: 300, result: 1 }] }, three)
  const { sandbox, clock, supervisor, io } = set
  sandbox.endZone = () => new Promise<void>(() => undefined)
  clock.after(100, () => supervisor.zone('worker', 'parsing'))
  const order = { actor: 'operator', reason: 'ended by hand', zone: 'worker' }
  clock.after(200, () => supervisor.terminate(order))
  const life = supervisor.run(taskOf(), io)
  await clock.run()
  const { end, timeline } = await life
  const own = timeline.filter(({ zone }) => zone === 'worker')
  assert.deepEqual(
    [end.status, own.map(({ event, reason }) => [event, reason])],
    [
      'ok',
      [
        ['zone', undefined],
        ['terminated', 'operator: ended by hand'],
      ],
    ],
  )
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
})

test('A machine has longer to end a zone than a wall of this kernel, of which the late zone ends the life', async () => {
  for (const [tier, status] of [
    ['microvm', 'ok'],
    ['process', 'terminated'],
  ] as const) {
    const schedule = scheduleOf(phasesOf(20_000))
    const profile = { ...profileOf({ schedule, limits: limitsOf({ timeout: 20_000 }) }), tier }
    const set = await stage({ script: () => [{ at: 10_000, result: 1 }] }, profile)
    const { sandbox, clock, supervisor, io } = set
    sandbox.endZone = () => new Promise<void>((resolve) => void clock.after(5000, resolve))
    clock.after(100, () => supervisor.zone('worker', 'parsing'))
    const order = { actor: 'operator', reason: 'ended by hand', zone: 'worker' }
    clock.after(200, () => supervisor.terminate(order))
    const life = supervisor.run(taskOf(), io)
    await clock.run()
    const { end, timeline } = await life
    const ended = timeline.find(({ zone, event }) => zone === 'worker' && event === 'terminated')
    assert.deepEqual([end.status, ended?.at], [status, tier === 'microvm' ? 5200 : undefined])
    await supervisor[Symbol.asyncDispose]()
    await sandbox[Symbol.asyncDispose]()
  }
})

test('A life captured too often is ended without another capture', async () => {
  const { sandbox, clock, canceller, io } = await stage(
    { script: forEver, faults: { freeze: 'works' } },
    captured,
  )
  let captures = 0
  sandbox.capture = () => (captures++, Promise.resolve({ kind: 'none', parts: [] }))
  const supervisor = supervise({
    sandbox,
    profile: captured,
    clock,
    emitter: { emit: () => undefined },
    signal: canceller.signal,
    mayCapture: () => false,
  })
  const fields = { severity: 'high', reason: 'odd' }
  clock.after(200, () => supervisor.notice({ point: 'anomaly/found', zone: 'main', fields }))
  const life = supervisor.run(taskOf(), io)
  await clock.run()
  const { end, timeline } = await life
  assert.deepEqual([end.status, captures], ['terminated', 0])
  const line = timeline.find(({ event }) => event === 'captured')
  assert.match(String(line?.fields?.['why']), /too often/)
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
})

test('A command that violates the schedule ends the life and its wall', async () => {
  const { clock, supervisor, sandbox, io } = await stage({ script: forEver, faults: {} }, three)
  const life = supervisor.run(taskOf(), io)
  await clock.run(10)
  const by = { actor: 'operator', reason: 'test' }
  assert.ok(await supervisor.tighten({ ...allControls, cpu: Number.NaN }, by))
  const { end } = await life
  assert.deepEqual([end.status, end.error?.code], ['failed', 'WALL_LOST'])
  await sandbox[Symbol.asyncDispose]()
})

test('A condition sees the severity of each anomaly, also of one that another follows at once', async () => {
  const condition = { terminateIf: 'anomaly.last == "high"' }
  const [open, shut] = phasesOf(1000, 1000)
  const onAnomaly = { low: 'record', medium: 'record', high: 'record' } as const
  const schedule = {
    ...scheduleOf([
      { ...open!, ...condition },
      { ...shut!, ...condition },
    ]),
    onAnomaly,
  }
  for (const [first, ...ended] of [
    ['high', 'terminated', 200],
    ['low', 'timeout', 2000],
  ] as const) {
    const { clock, supervisor, io } = await stage({ script: forEver }, profileOf({ schedule }))
    clock.after(200, () => {
      for (const severity of [first, 'low'])
        supervisor.notice({ point: 'anomaly/found', zone: 'main', fields: { severity } })
    })
    const life = supervisor.run(taskOf(), io)
    await clock.run()
    const { end, executionTime } = await life
    assert.deepEqual([end.status, executionTime], ended)
  }
})

test('A life ends by the condition of the phase that it leaves, whatever ends the phase before the next poll', async () => {
  const [open, shut] = phasesOf(1000, 1000)
  const schedule = scheduleOf([{ ...open!, terminateIf: 'calls > 1' }, shut!])
  const refused = { tighten: 'throws' } as const
  for (const [ends, at, faults, clocked] of [
    ['the clock', 999, {}, {}],
    ['CPU time', 0, {}, { clock: 'cpu' }],
    ['a refused order', 500, refused, {}],
  ] as const) {
    const profile = profileOf({ schedule: { ...schedule, ...clocked } })
    const set = await stage({ script: forEver, faults }, profile)
    const { clock, supervisor, sandbox, io } = set
    let cpu = 0
    sandbox.cpuTime = () => cpu
    const call = () =>
      supervisor.notice({ point: 'capability/denied', zone: 'main', fields: { capability: 'a' } })
    clock.after(at, () => {
      if ('tighten' in faults)
        void supervisor.tighten({ ...allControls, cpu: 0.1 }, { actor: 'ada', reason: 'test' })
      cpu = 'clock' in clocked ? 1000 : 0
      call()
    })
    // A poll at this call: the next one could only come after the phase has ended.
    clock.after(at - 2, call)
    const life = supervisor.run(taskOf(), io)
    await clock.run()
    const { end, timeline } = await life
    assert.equal(end.status, 'terminated', ends)
    assert.equal(end.error?.message.includes('calls > 1'), true, `${ends}: ${end.error?.message}`)
    const phases = timeline.flatMap(({ event, phase }) => (event === 'phase' ? [phase] : []))
    assert.deepEqual(phases, ['phase-0'], ends)
  }
})

test('An event after the end of a phase is not judged by it, also if the timer of the phase is late', async () => {
  const [open, shut] = phasesOf(1000, 1000)
  const schedule = scheduleOf([{ ...open!, terminateIf: 'calls > 0' }, shut!])
  const { clock, supervisor, io } = await stage({ script: forEver }, profileOf({ schedule }))
  // Registered first, so that it runs before the timer.
  clock.after(1000, () =>
    supervisor.notice({ point: 'capability/denied', zone: 'main', fields: { capability: 'a' } }),
  )
  const life = supervisor.run(taskOf(), io)
  await clock.run()
  const { end, executionTime } = await life
  assert.deepEqual([end.status, executionTime], ['timeout', 2000])
})

test('An anomaly that would advance ends the life where the phase in which it happened says so', async () => {
  for (const [condition, seen, ended] of [
    ['anomaly.last == "medium"', [], 'terminated'],
    ['events["egress/denied"] >= 2', ['egress/denied', 'egress/denied'], 'terminated'],
    ['anomaly.last == "high"', [], 'timeout'],
  ] as const) {
    const [open, quiet] = phasesOf(1000, 1000)
    const schedule = scheduleOf([{ ...open!, terminateIf: condition }, quiet!])
    const set = await stage({ script: forEver }, profileOf({ schedule }))
    const { clock, supervisor, io } = set
    clock.after(200, () => {
      for (const point of seen) supervisor.notice({ point, zone: 'main', fields: {} })
      const fields = { severity: 'medium' }
      supervisor.notice({ point: 'anomaly/found', zone: 'main', fields })
    })
    const life = supervisor.run(taskOf(), io)
    await clock.run()
    const { end, executionTime, timeline } = await life
    assert.equal(end.status, ended, condition)
    const isOver = ended === 'terminated'
    if (isOver) assert.equal(executionTime, 200)
    assert.equal(
      timeline.some(({ event }) => event === 'advanced'),
      !isOver,
    )
  }
})

test('A life ends at its limit of processor time, also by an end of its own between two looks, and keeps its exit code', async () => {
  const profile = profileOf({ limits: limitsOf({ timeout: 5000, cpuTime: 300 }) })
  const spinning = await stage({ script: forEver }, profile)
  const { clock, supervisor, sandbox, io } = spinning
  sandbox.cpuTime = () => clock.now() / 2
  const life = supervisor.run(taskOf(), io)
  await clock.run()
  const { end, executionTime } = await life
  assert.deepEqual([end.status, end.error?.code], ['limit', 'CPU'])
  assert.ok(executionTime > 600 && executionTime < 700, `${executionTime} ms`)

  for (const [cpuTime, ended] of [
    [301, ['limit', 'CPU', 4]],
    [300, ['error', 'EXIT', 4]],
  ] as const) {
    const short = await stage({ script: () => [] }, profile)
    const own = {
      status: 'error',
      resultText: 'null',
      encoding: 'json',
      error: { code: 'EXIT', message: 'The program exited with 4' },
      exitCode: 4,
      cpuTime,
      artifacts: [],
    } as const
    short.sandbox.run = async (_task, listener) => (listener.released(), own)
    const { end: given } = await short.supervisor.run(taskOf(), short.io)
    assert.deepEqual([given.status, given.error?.code, given.exitCode], ended)
  }
})
