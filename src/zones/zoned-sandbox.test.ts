import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { profileOf, scheduleOf, taskOf } from '../../tests/sim/simulated-life.ts'
import type { Clock } from '../contract/clock.ts'
import { allControls } from '../contract/controls.ts'
import type { NetworkAttempt } from '../contract/outcome.ts'
import type { KillCause, Sandbox, TaskEnd } from '../contract/provider.ts'
import type { SupervisedRun } from '../contract/pipeline.ts'
import type { ZoneSplit } from '../contract/zones.ts'
import { supervise } from '../lives/supervise.ts'
import { observeZones } from './observe-zones.ts'
import { endMsMax, zoneEndMsMax, ZonedSandbox } from './zoned-sandbox.ts'

const schedule = {
  ...scheduleOf([{ name: 'full', for: 1000, controls: allControls }]),
  zones: { parsing: scheduleOf([{ name: 'zone', for: 1000, controls: allControls }]) },
}
const profile = profileOf({ schedule })
const code = 'function parse() {}\n'
const split: ZoneSplit = {
  zones: [
    {
      name: 'parse',
      kind: 'parsing',
      line: 1,
      endLine: 1,
      network: false,
      capabilities: [],
      calls: [],
      cut: [0, 19],
      keep: [],
    },
  ],
  residual: [],
  calls: ['parse'],
}

interface WallTimes {
  /** Milliseconds from the release to its own end. */
  readonly ends: number
  /** Milliseconds from a kill to the end. */
  readonly dies: number
  /** In place of a run. */
  readonly fails?: Error
}

/** Wall that made one network attempt, reports this much CPU time, and has used twice as much when it is disposed. */
function wallOf(clock: Clock, id: string, cpuTime: number, times: WallTimes) {
  const { ends, dies, fails } = times
  const kills: KillCause[] = []
  let isDisposed = false
  const attempt: NetworkAttempt = {
    host: `${id}.example`,
    port: 443,
    verdict: 'allowed',
    sent: 1,
    received: 1,
  }
  const { promise, resolve } = Promise.withResolvers<TaskEnd>()
  const end: TaskEnd = {
    status: 'ok',
    resultText: '1',
    encoding: 'json',
    cpuTime,
    artifacts: [],
    network: [attempt],
  }
  const sandbox: Sandbox = {
    id,
    provider: 'stub',
    image: 'stub',
    pool: 'none',
    get receipt() {
      const counted = { cpuTime: cpuTime * 2 }
      return isDisposed ? { id, took: 0, freedBytes: 0, forced: [], ...counted } : undefined
    },
    run(_task, io) {
      if (fails) return Promise.reject(fails)
      io.released()
      if (ends < Infinity) clock.after(ends, () => resolve(end))
      return promise
    },
    tighten: (controls) => Promise.resolve({ controls, took: 0, unenforced: [] }),
    cpuTime: () => cpuTime / 2,
    freeze: () => Promise.resolve(),
    thaw: () => Promise.resolve(),
    watch() {},
    capture: () => Promise.resolve({ kind: 'none', parts: [] }),
    kill(cause) {
      kills.push(cause)
      if (dies < Infinity) clock.after(dies, () => resolve({ ...end, status: 'terminated' }))
    },
    [Symbol.asyncDispose]: () => Promise.resolve(void (isDisposed = true)),
  }
  return { sandbox, kills }
}

/** Supervised program that ends by itself, with one zone; all time is simulated. */
async function live(zoneTimes: WallTimes, mainTimes: WallTimes = { ends: 10, dies: 1 }) {
  const clock = new SimulatedClock()
  const main = wallOf(clock, 'main', 100, mainTimes)
  const zone = wallOf(clock, 'zone', 10, zoneTimes)
  const launch = () => Promise.resolve(zone.sandbox)
  const sandbox = new ZonedSandbox({ inner: main.sandbox, profile, launch, clock })
  const lostZones: string[] = []
  const supervisor = supervise({
    sandbox,
    profile,
    clock,
    emitter: {
      emit: (point, _fields, more) =>
        void (point === 'tier/lost' && lostZones.push(more?.zone ?? '')),
    },
    signal: new AbortController().signal,
    observers: [observeZones({ sandbox, clock, schedule: profile.schedule })],
  })
  let lived: SupervisedRun | undefined
  let took = 0
  const life = supervisor
    .run(taskOf({ code, split }), { stdout() {}, stderr() {} })
    .then((run) => ((lived = run), (took = clock.now())))
  await clock.run()
  assert(lived, 'the life did not end')
  await life
  await sandbox[Symbol.asyncDispose]()
  const { end, executionTime, timeline } = lived
  const notes = timeline.filter(({ event, zone: of }) => event === 'zone' && of === 'parse')
  return {
    end,
    executionTime,
    took,
    hosts: end.network?.map(({ host }) => host),
    reasons: notes.flatMap(({ reason }) => reason ?? []),
    kills: zone.kills,
    lostZones,
    receipt: sandbox.receipt,
  }
}

test('A zone that ends within the grace period is not killed, and its cost is in the outcome', async () => {
  const { end, hosts, kills, took } = await live({ ends: 20, dies: 1 })
  assert.deepEqual([end.status, end.cpuTime, kills], ['ok', 110, []])
  assert.deepEqual(hosts, ['main.example', 'zone.example'])
  assert.equal(took, 20)
})

test('The receipt has the CPU time of all walls, as counted until they were gone', async () => {
  assert.equal((await live({ ends: 20, dies: 1 })).receipt?.cpuTime, 220)
})

test('A zone that ends after the grace period is killed, and its cost is in the outcome', async () => {
  const { end, hosts, kills, reasons, took, lostZones } = await live({ ends: Infinity, dies: 700 })
  assert.deepEqual([end.status, end.cpuTime, kills.length], ['ok', 110, 1])
  assert.deepEqual(hosts, ['main.example', 'zone.example'])
  assert.deepEqual([reasons, lostZones], [['the program is over'], []])
  assert.equal(took, 10 + zoneEndMsMax.usual + 700)
})

test('A zone whose wall never ends delays the outcome by a bound, and the timeline reports its missing end', async () => {
  const { end, hosts, reasons, took, lostZones } = await live({ ends: Infinity, dies: Infinity })
  assert.deepEqual([end.status, end.cpuTime], ['ok', 105])
  assert.deepEqual([hosts, lostZones], [['main.example'], ['parse']])
  assert.equal(reasons.length, 1)
  assert.match(reasons[0]!, /network attempts, its memory and its last CPU time are missing/)
  assert.equal(took, 10 + zoneEndMsMax.usual + endMsMax)
})

test('A program that ends before its deadline ends ok, although the end of its zone comes after it', async () => {
  const main = { ends: 940, dies: 1 }
  const { end, executionTime, hosts } = await live({ ends: Infinity, dies: 700 }, main)
  assert.deepEqual([end.status, end.resultText], ['ok', '1'])
  assert.deepEqual(hosts, ['main.example', 'zone.example'])
  assert.equal(executionTime, 940 + zoneEndMsMax.usual)
  const inGrace = await live({ ends: Infinity, dies: 1 }, { ends: 960, dies: 1 })
  assert.deepEqual([inGrace.end.status, inGrace.executionTime], ['timeout', 1001])
})

test('A zone that cannot begin fails the program, which does not run', async () => {
  const fails = new Error('its egress path cannot be opened')
  const { end, hosts } = await live({ ends: Infinity, dies: 1, fails })
  assert.deepEqual([end.status, hosts], ['failed', undefined])
  assert.match(end.error!.message, /its egress path cannot be opened/)
})

test('A killed program with a hung zone keeps the cause of its end', async () => {
  const main = { ends: Infinity, dies: 2000 }
  const { end, hosts, took, reasons } = await live({ ends: Infinity, dies: Infinity }, main)
  assert.deepEqual([end.status, hosts], ['timeout', ['main.example']])
  assert.match(reasons.at(-1)!, /are missing/)
  assert.equal(took, 1000 + endMsMax)
})
