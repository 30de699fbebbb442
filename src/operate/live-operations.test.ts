import assert from 'node:assert/strict'
import { test } from 'node:test'
import { phasesOf, profileOf, scheduleOf, stage, taskOf } from '../../tests/sim/simulated-life.ts'
import { allControls, controlNames, isWithin, noNetwork } from '../contract/controls.ts'
import type { Controls } from '../contract/controls.ts'
import { MayflyError } from '../contract/error.ts'
import type { TimelineEntry, TimelineListener } from '../contract/event.ts'
import { liveSandbox, type Operator } from '../contract/live.ts'
import type { Profile } from '../contract/profile.ts'
import type { Sandbox } from '../contract/provider.ts'
import type { SupervisedRun } from '../contract/pipeline.ts'
import { captureMsMax } from '../contract/capture-summary.ts'
import { wallAnswerMsMax } from '../contract/wall-answer.ts'
import { createLiveOperations } from './live-operations.ts'
import { waitingMax } from './live-registry.ts'
import { operatorEntriesMax } from './operated-life.ts'
import { supervise } from '../lives/supervise.ts'

const admin: Operator = { principal: 'key:admin', tenant: undefined }
const granted: Controls = { ...allControls, cpu: 2, processes: 64 }
const usual = profileOf({ controls: granted, schedule: scheduleOf(phasesOf(1000, 2000, 1000)) })

interface Parts {
  readonly profile?: Profile
  readonly tightens?: readonly (keyof Controls)[]
  readonly can?: readonly 'freeze'[]
  readonly freeze?: () => Promise<void>
  readonly thaw?: () => Promise<void>
  readonly capture?: Sandbox['capture']
  readonly recordFails?: boolean
}

/** A life in progress at age `ms`, with its operators. */
async function underWay(ms: number, parts: Parts = {}) {
  const { profile = usual, tightens = controlNames, can = ['freeze'] } = parts
  const { sandbox, clock, io } = await stage({ script: () => [] }, profile)
  const frozen: string[] = []
  const stands: Sandbox = Object.assign(sandbox, {
    freeze: parts.freeze ?? (async () => void frozen.push('frozen')),
    thaw: parts.thaw ?? (async () => void frozen.push('thawed')),
    ...(parts.capture && { capture: parts.capture }),
  })
  const told: unknown[][] = []
  const { operations, observe } = createLiveOperations({
    writeRecord(point, fields, { run, actor }) {
      if (parts.recordFails) throw new MayflyError('STATE', 'Cannot write')
      told.push([point, fields['zone'] ?? null, run, actor])
    },
  })
  const heard: TimelineEntry[] = []
  const emitter = { emit: () => undefined }
  const { signal } = new AbortController()
  const observers = [observe({ sandbox: stands, profile, clock, can: { tightens, can } })]
  const on: TimelineListener = (one, isKept) => void (isKept && heard.push(one))
  const supervisor = supervise({ sandbox: stands, profile, clock, emitter, signal, on, observers })
  const { run } = taskOf()
  let lived: SupervisedRun | undefined
  const life = supervisor.run(taskOf(), io).then((so) => (lived = so))
  await clock.run(ms)
  return {
    run,
    clock,
    operations,
    told,
    heard,
    frozen,
    /** Runs the life to its end. */
    async end(): Promise<SupervisedRun> {
      await clock.run()
      await life
      return lived!
    },
    observe,
  }
}

const isCode = (code: string) => (thrown: unknown) =>
  thrown instanceof MayflyError && thrown.code === code

test('A running life is visible to its own tenant only', async () => {
  const { run, operations, end } = await underWay(1200)
  const own: Operator = { principal: 'key:own', tenant: usual.tenant }
  const { phase, age, frozen, counts, controls } = operations.find(run, own)
  assert.deepEqual([phase, age, frozen], ['phase-1', 1200, false])
  assert.deepEqual(counts, { phase: 2, tightened: 1 })
  assert.deepEqual(controls.network, noNetwork)
  assert.deepEqual(
    operations.list(own).map(({ id }) => id),
    [run],
  )
  const stranger: Operator = { principal: 'key:other', tenant: 'other' }
  assert.deepEqual(operations.list(stranger), [])
  const messages = [run, 'exec_none'].map((id) => {
    try {
      return operations.find(id, stranger)
    } catch (thrown) {
      return (thrown as MayflyError).message
    }
  })
  assert.equal(messages[0], messages[1])
  await end()
  assert.throws(() => operations.find(run, own), isCode('NOT_FOUND'))
  assert.deepEqual(operations.list(admin), [])
})

test("An operator's tightening is enforced, recorded, and in the timeline", async () => {
  const { run, operations, told, end } = await underWay(300)
  const { held, controls } = await operations.tighten(run, { controls: { cpu: 0.5 } }, admin)
  assert.deepEqual([held, controls.cpu], [true, 0.5])
  const shown = operations.find(run, admin)
  assert.equal(shown.controls.cpu, 0.5)
  assert.deepEqual(liveSandbox.parse(shown), shown, 'no field beyond the schema')
  assert.deepEqual(told, [['operator/tightened', 'main', run, 'key:admin']])
  const { timeline } = await end()
  const line = timeline.find(({ reason }) => reason?.startsWith('operator'))
  assert.deepEqual([line?.at, line?.event, line?.controls], [300, 'tightened', { cpu: 0.5 }])
})

test('Loosening is refused with the controls in force, and changes nothing', async () => {
  const { run, operations, told, end } = await underWay(1200)
  const before = operations.find(run, admin).controls
  const wide = { network: allControls.network, cpu: 3, processes: 8 }
  await assert.rejects(operations.tighten(run, { controls: wide }, admin), (thrown) => {
    assert.ok(thrown instanceof MayflyError)
    assert.deepEqual(thrown.details, {
      looser: ['network', 'cpu'],
      inForce: { network: noNetwork, cpu: 2 },
    })
    return thrown.status === 409
  })
  assert.deepEqual(operations.find(run, admin).controls, before)
  assert.deepEqual(told, [])
  await operations.tighten(run, { controls: { processes: 8 } }, admin)
  assert.ok(isWithin(operations.find(run, admin).controls, before))
  await end()
})

test('Tightening beyond the abilities of a running wall is refused, and the life goes on', async () => {
  const { run, operations, end } = await underWay(300, { tightens: ['cpu'] })
  const network = { controls: { network: noNetwork } }
  await assert.rejects(operations.tighten(run, network, admin), isCode('CONFLICT'))
  assert.equal(operations.find(run, admin).phase, 'phase-0')
  await end()
})

test('An unknown zone is not found', async () => {
  const { run, operations, end } = await underWay(300)
  const asked = { controls: { cpu: 1 }, zone: 'attic' }
  await assert.rejects(operations.tighten(run, asked, admin), isCode('NOT_FOUND'))
  await end()
})

test('Freezing stops a life but not its clock, and is in the timeline', async () => {
  const { run, operations, frozen, clock, heard, end } = await underWay(500)
  await operations.freeze(run, admin)
  assert.equal(operations.find(run, admin).frozen, true)
  await clock.run(2000)
  assert.deepEqual(
    [operations.find(run, admin).phase, operations.find(run, admin).age],
    ['phase-1', 2000],
  )
  await operations.thaw(run, admin)
  assert.equal(operations.find(run, admin).frozen, false)
  assert.deepEqual(frozen, ['frozen', 'thawed'])
  const { timeline, executionTime } = await end()
  assert.equal(executionTime, 4000)
  assert.deepEqual(
    timeline.map(({ at, event }) => `${at} ${event}`),
    [
      '0 phase',
      '500 frozen',
      '1000 phase',
      '1000 tightened',
      '2000 thawed',
      '3000 phase',
      '3000 tightened',
      '4000 terminated',
    ],
  )
  assert.deepEqual(heard, timeline)
})

test('A wall without freezing refuses it without effect', async () => {
  const { run, operations, told, end } = await underWay(500, { can: [] })
  await assert.rejects(operations.freeze(run, admin), isCode('CONFLICT'))
  await assert.rejects(operations.thaw(run, admin), isCode('CONFLICT'))
  assert.deepEqual([operations.find(run, admin).frozen, told], [false, []])
  await end()
})

test('A wall that fails to freeze is ended', async () => {
  const freeze = () => Promise.reject(new Error('half of it runs'))
  const { run, operations, end } = await underWay(500, { freeze })
  await assert.rejects(operations.freeze(run, admin), isCode('UNAVAILABLE'))
  const { end: came, executionTime } = await end()
  assert.deepEqual([came.status, executionTime], ['terminated', 500])
  assert.match(came.error?.message ?? '', /operator: it could not be frozen: half of it runs/)
})

test('A life whose thaw fails or is late is still frozen, and is thawed by the next order', async () => {
  const answers = [
    () => Promise.reject(new Error('half of it stands')),
    () => new Promise<never>(() => undefined),
    async () => undefined,
  ]
  const thaw = () => answers.shift()!()
  const { run, operations, clock, end } = await underWay(500, { thaw })
  await operations.freeze(run, admin)
  for (const message of [/half of it stands/, /the wall is late/]) {
    const refused = assert.rejects(operations.thaw(run, admin), {
      code: 'UNAVAILABLE',
      message,
      hint: 'Thaw it again, or end it',
    })
    await clock.run(clock.now() + wallAnswerMsMax)
    await refused
    assert.equal(operations.find(run, admin).frozen, true)
  }
  await operations.thaw(run, admin)
  assert.equal(operations.find(run, admin).frozen, false)
  const { timeline } = await end()
  assert.equal(timeline.filter(({ event }) => event === 'thawed').length, 1)
})

test('A capture of a wall without that ability is reported as none', async () => {
  const { run, operations, told, end } = await underWay(500)
  const { kind, parts } = await operations.capture(run, admin)
  assert.deepEqual([kind, parts], ['none', []])
  assert.deepEqual(told, [['operator/captured', null, run, 'key:admin']])
  const { timeline } = await end()
  const line = timeline.find(({ event }) => event === 'captured')
  assert.deepEqual(line?.fields, { kind: 'none' })
})

test('A capture that never answers times out, and the next one is started', async () => {
  const slow = profileOf({ controls: granted, schedule: scheduleOf(phasesOf(60_000)) })
  const long = { ...slow, limits: { ...slow.limits, timeout: 60_000 } }
  const never = () => new Promise<never>(() => undefined)
  const { run, operations, end, clock } = await underWay(500, { profile: long, capture: never })
  const both = [operations.capture(run, admin), operations.capture(run, admin)].map((one) =>
    assert.rejects(one, isCode('UNAVAILABLE')),
  )
  await clock.run(500 + 2 * captureMsMax)
  await Promise.all(both)
  await end()
})

test('Termination by an operator is in the outcome, and resolves when the life has ended', async () => {
  const { run, operations, told, end, clock } = await underWay(500)
  const order = operations.terminate(run, admin)
  await clock.run(0)
  assert.equal((await order).status, 'terminated')
  const { end: came, timeline } = await end()
  assert.equal(came.status, 'terminated')
  assert.match(timeline.at(-1)?.reason ?? '', /^operator: /)
  assert.deepEqual(told, [['operator/terminated', null, run, 'key:admin']])
})

test('A failing record is reported, and the operation still takes effect', async () => {
  const { run, operations, end } = await underWay(500, { recordFails: true })
  const asked = { controls: { cpu: 1 } }
  await assert.rejects(operations.tighten(run, asked, admin), isCode('STATE'))
  assert.equal(operations.find(run, admin).controls.cpu, 1)
  await assert.rejects(operations.terminate(run, admin), isCode('STATE'))
  assert.equal((await end()).end.status, 'terminated')
})

test('Queued orders per life are limited, and terminate bypasses the queue', async () => {
  const { run, operations, end, clock } = await underWay(500, {
    freeze: () => Promise.withResolvers<void>().promise,
  })
  const first = operations.freeze(run, admin)
  const waiting = Array.from({ length: waitingMax - 1 }, () => operations.thaw(run, admin))
  await assert.rejects(operations.thaw(run, admin), isCode('RATE_LIMITED'))
  const order = operations.terminate(run, admin)
  await clock.run()
  assert.equal((await order).status, 'terminated')
  assert.ok(
    (await Promise.allSettled([first, ...waiting])).every((one) => one.status === 'rejected'),
  )
  await end()
})

test('Commands to an ended life are refused while it is stopped for a capture', async () => {
  const look = Promise.withResolvers<never>()
  const asked = profileOf({ ...usual, capture: true })
  const { run, operations, frozen, clock, end } = await underWay(500, {
    profile: asked,
    capture: () => look.promise,
  })
  const life = operations.terminate(run, admin)
  await clock.run(600)
  assert.deepEqual(frozen, ['frozen'])
  for (const order of [
    operations.thaw(run, admin),
    operations.freeze(run, admin),
    operations.capture(run, admin),
    operations.tighten(run, { controls: { cpu: 1 } }, admin),
  ])
    await assert.rejects(order, { code: 'CONFLICT', message: /its life is over/ })
  assert.deepEqual(frozen, ['frozen'])
  look.reject(new Error('it is late'))
  await end()
  await life
})

test('Tightening does not wait for captures, and the wait of a capture is bounded', async () => {
  const look = Promise.withResolvers<never>()
  const slow = profileOf({ ...usual, schedule: scheduleOf(phasesOf(60_000)) })
  const long = { ...slow, limits: { ...slow.limits, timeout: 60_000 } }
  const never = { profile: long, capture: () => look.promise }
  const { run, operations, clock, end } = await underWay(500, never)
  const first = operations.capture(run, admin).catch((thrown: unknown) => thrown)
  const second = operations.capture(run, admin).catch((thrown: unknown) => thrown)
  await operations.freeze(run, admin)
  const { held } = await operations.tighten(run, { controls: { cpu: 1 } }, admin)
  assert.ok(held)
  await operations.thaw(run, admin)
  await clock.run(500 + 3 * captureMsMax)
  for (const thrown of [await first, await second]) assert.ok(isCode('UNAVAILABLE')(thrown))
  await end()
})

test("The view of a life includes operations beyond the timeline's capacity", async () => {
  const { run, operations, end } = await underWay(500)
  for (let times = 0; times < operatorEntriesMax; times++) {
    await operations.freeze(run, admin)
    await operations.thaw(run, admin)
  }
  await operations.freeze(run, admin)
  assert.equal(operations.find(run, admin).frozen, true)
  const { timeline } = await end()
  assert.equal(timeline.filter(({ reason }) => reason === 'operator').length, operatorEntriesMax)
})
