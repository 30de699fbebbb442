import assert from 'node:assert/strict'
import { test } from 'node:test'
import { phasesOf, profileOf, scheduleOf, stage, taskOf } from '../../tests/sim/simulated-life.ts'
import type { Profile } from '../contract/profile.ts'
import type { Capture } from '../contract/provider.ts'
import type { KeepCapture, SupervisedRun } from '../contract/pipeline.ts'
import type { Faults, Script } from '../tiers/mock/script.ts'
import { createMutex, type Mutex } from '../lib/mutex.ts'
import { captureMsMax, captureWaitMsMax } from '../contract/capture-summary.ts'
import { supervise } from './supervise.ts'

const asked = { ...profileOf({ schedule: scheduleOf(phasesOf(1000)) }), capture: true }
const memory: Capture = { kind: 'memory', parts: [{ name: 'a', bytes: [Buffer.from('abc')] }] }
const parts = [{ name: 'kept/a', size: 3, sha256: 'x' }]
const forEver: Script = () => []

interface Parts {
  readonly script?: Script
  readonly faults?: Faults
  /** Inputs of the life, by time. */
  readonly midway?: (life: Awaited<ReturnType<typeof stage>>) => void
  /** Duration of a capture by the wall. */
  readonly captureMs?: number
  readonly hold?: 'works' | 'never' | 'is not there'
  readonly keep?: KeepCapture
  readonly profile?: Profile
  readonly mutex?: Mutex
}

/** Runs a life with a requested capture, and records the calls to its wall. */
async function live({
  script = forEver,
  faults = {},
  midway,
  captureMs = 0,
  hold = 'works',
  keep,
  profile = asked,
  mutex,
}: Parts) {
  const set = await stage({ script, faults: { freeze: 'works', ...faults } }, profile)
  const { sandbox, clock, canceller, io } = set
  const done: string[] = []
  const said: { point: string; fields: unknown }[] = []
  const kill = sandbox.kill.bind(sandbox)
  sandbox.kill = (cause) => {
    done.push(`${clock.now()} kill ${cause.status}`)
    kill(cause)
  }
  if (hold !== 'is not there')
    sandbox.hold = () => {
      done.push(`${clock.now()} hold`)
      return hold === 'works' ? Promise.resolve() : Promise.withResolvers<void>().promise
    }
  sandbox.capture = () =>
    new Promise((resolve) => {
      done.push(`${clock.now()} capture`)
      clock.after(captureMs, () => resolve(memory))
    })
  const of: unknown[] = []
  const supervisor = supervise({
    sandbox,
    profile,
    clock,
    emitter: { emit: (point, fields) => void said.push({ point, fields }) },
    signal: canceller.signal,
    keep: keep ?? (async (run) => (of.push(run), parts)),
    mutex,
  })
  midway?.({ ...set, supervisor })
  let lived: SupervisedRun | undefined
  const life = supervisor.run(taskOf(), io).then((supervised) => (lived = supervised))
  await clock.run()
  assert(lived, 'the life did not end')
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
  const { end, timeline, executionTime } = await life
  const captured = timeline.filter(({ event }) => event === 'captured')
  const words = timeline.map(({ event }) => event)
  return { end, timeline, executionTime, captured, words, done, of, said, clock }
}

test('A requested capture is made after the job ends by itself, without changing its end', async () => {
  const lived = await live({ script: () => [{ at: 250, result: 7 }], captureMs: 40 })
  const { end, executionTime, captured, words, done, of } = lived
  assert.deepEqual([end.status, end.resultText, executionTime], ['ok', '7', 250])
  assert.deepEqual(captured[0], {
    at: 290,
    zone: 'main',
    event: 'captured',
    took: 40,
    reason: 'asked',
    fields: { kind: 'memory', parts },
  })
  assert.deepEqual(words, ['phase', 'captured'])
  assert.deepEqual(done.slice(0, 2), ['250 hold', '250 capture'])
  assert.deepEqual(of, [{ run: 'exec_1', tenant: 'default', because: 'asked' }])
})

test('A cut life is frozen at once, captured, then killed', async () => {
  const ends = {
    timeout: undefined,
    terminated: ({ clock, supervisor }) =>
      void clock.after(300, () => supervisor.terminate({ actor: 'operator', reason: 'enough' })),
    cancelled: ({ clock, canceller }) => void clock.after(300, () => canceller.abort()),
  } as const satisfies Record<string, Parts['midway']>
  for (const [status, midway] of Object.entries(ends)) {
    const { end, executionTime, captured, words, done } = await live({
      captureMs: 40,
      ...(midway && { midway }),
    })
    assert.deepEqual(captured[0]?.fields, { kind: 'memory', parts })
    const at = status === 'timeout' ? 1000 : 300
    assert.deepEqual([end.status, executionTime], [status, at])
    assert.deepEqual(words, ['phase', 'captured', 'terminated'])
    assert.deepEqual(done.slice(0, 3), [`${at} hold`, `${at} capture`, `${at + 40} kill ${status}`])
  }
})

test('Inputs during a capture do not change the end', async () => {
  const { end, words, done } = await live({
    script: () => [{ at: 990, result: 7 }],
    captureMs: 500,
    midway: ({ clock, canceller, supervisor }) => {
      clock.after(1100, () => canceller.abort())
      clock.after(1200, () => supervisor.terminate({ actor: 'operator', reason: 'enough' }))
    },
  })
  assert.deepEqual([end.status, end.resultText], ['ok', '7'])
  assert.deepEqual(words, ['phase', 'captured'])
  assert.ok(!done.some((line) => line.includes('kill')))
})

test('An anomaly just before the end of a life still completes its capture, and ends it', async () => {
  const { schedule } = asked
  const onAnomaly = { ...schedule.onAnomaly, high: 'capture' } as const
  const profile = { ...asked, capture: false, schedule: { ...schedule, onAnomaly } }
  const { end, executionTime, captured, words, done, of, said } = await live({
    profile,
    captureMs: 40,
    midway({ clock, supervisor }) {
      const fields = { severity: 'high', reason: 'odd' }
      clock.after(990, () => supervisor.notice({ point: 'anomaly/found', zone: 'main', fields }))
    },
  })
  assert.deepEqual([end.status, executionTime], ['terminated', 990])
  assert.deepEqual(words, ['phase', 'anomaly', 'captured', 'terminated'])
  assert.deepEqual(captured[0]!.fields, { kind: 'memory', parts })
  assert.deepEqual(done.slice(0, 3), ['990 hold', '990 capture', '1030 kill terminated'])
  assert.deepEqual(of, [{ run: 'exec_1', tenant: 'default', because: 'anomaly' }])
  assert.deepEqual(
    said.map(({ point }) => point).filter((point) => /reacted|missing/.test(point)),
    ['anomaly/reacted'],
  )
})

test('Walls that cannot be captured or do not answer are reported, and the life ends in time', async () => {
  const none: readonly (Parts & { readonly why: RegExp; readonly latest: number })[] = [
    { hold: 'never', why: /the wall is late/, latest: 2000 },
    {
      hold: 'is not there',
      faults: { freeze: undefined as never },
      why: /Cannot freeze/,
      latest: 1000,
    },
    { captureMs: 60_000, why: /the wall is late/, latest: 1000 + captureMsMax },
  ]
  for (const { why, latest, ...rest } of none) {
    const { end, captured, said, done } = await live(rest)
    assert.equal(end.status, 'timeout')
    assert.equal(captured.length, 1)
    const { kind, why: told } = captured[0]!.fields as { kind: string; why: string }
    assert.equal(kind, 'none')
    assert.match(told, why)
    assert.deepEqual(
      said.filter(({ point }) => point === 'evidence/missing'),
      [{ point: 'evidence/missing', fields: { why: told } }],
    )
    const killedAt = Number(done.find((line) => line.includes('kill'))?.split(' ')[0])
    assert.ok(killedAt <= latest, done.join())
  }
})

test('A full store costs the capture, not the outcome', async () => {
  const keep = () => Promise.reject(new Error('the disk is full'))
  const { end, captured } = await live({ script: () => [{ at: 250, result: 7 }], keep })
  assert.deepEqual([end.status, end.resultText], ['ok', '7'])
  assert.deepEqual(captured[0]!.fields, { kind: 'none', why: 'the disk is full' })
})

test('Captures are serialised, and a failing one blocks no other', async () => {
  const mutex = createMutex()
  const running: number[] = []
  let most = 0
  const work = async (n: number) => {
    running.push(n)
    most = Math.max(most, running.length)
    await new Promise((resolve) => setImmediate(resolve))
    running.splice(running.indexOf(n), 1)
    if (n === 1) throw new Error('one of them')
    return n
  }
  const all = await Promise.allSettled([0, 1, 2, 3].map((n) => mutex(() => work(n))))
  assert.equal(most, 1)
  assert.deepEqual(
    all.map((one) => (one.status === 'fulfilled' ? one.value : String(one.reason.message))),
    [0, 'one of them', 2, 3],
  )
})

test('Tenants take turns: a capture waits for one of each other tenant, and for those before it of its own', async () => {
  const mutex = createMutex()
  const order: string[] = []
  const gate = Promise.withResolvers<void>()
  const names = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1', 'a4']
  const all = names.map((name) =>
    mutex(
      async () => {
        order.push(name)
        if (name === 'a1') await gate.promise
      },
      { tenant: name[0]! },
    ),
  )
  gate.resolve()
  await Promise.all(all)
  assert.deepEqual(order, ['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4'])
})

test('A life is captured while captures of another tenant wait that came before', async () => {
  const mutex = createMutex()
  const other = { tenant: 'other' }
  const first = Promise.withResolvers<void>()
  void mutex(() => first.promise, other)
  for (let more = 0; more < 3; more++) void mutex(never, other)
  const { captured } = await live({
    mutex,
    midway: ({ clock }) => void clock.after(1500, () => first.resolve()),
  })
  assert.deepEqual([captured[0]!.at, captured[0]!.fields], [1500, { kind: 'memory', parts }])
})

test('A mutex waiter that is aborted rejects at once and never starts; a running one completes', async () => {
  const mutex = createMutex()
  const gate = Promise.withResolvers<string>()
  const [begun, waits, gone] = [1, 2, 3].map(() => new AbortController())
  gone!.abort(new Error('gone'))
  let isBegun = false
  const first = mutex(() => gate.promise, { leave: begun!.signal })
  const left = [waits!, gone!].map(({ signal: leave }) =>
    mutex(async () => (isBegun = true), { leave }),
  )
  const last = mutex(async () => 'last')
  await Promise.resolve()
  begun!.abort(new Error('too late'))
  waits!.abort(new Error('enough'))
  await assert.rejects(left[0]!, { message: 'enough' })
  await assert.rejects(left[1]!, { message: 'gone' })
  gate.resolve('first')
  assert.deepEqual([await first, await last, isBegun], ['first', 'last', false])
})

const never = () => Promise.withResolvers<void>().promise

/** Mutex whose first holder captures for the whole test. */
function blockedLine(): Mutex {
  const mutex = createMutex()
  void mutex(never)
  return mutex
}

test('Cancel and terminate end a life with a queued capture at once, and report it as not captured', async () => {
  const skips = {
    cancelled: ({ canceller }) => canceller.abort(),
    'terminated by operator: enough': ({ supervisor }) =>
      supervisor.terminate({ actor: 'operator', reason: 'enough' }),
  } as const satisfies Record<string, NonNullable<Parts['midway']>>
  for (const [what, skip] of Object.entries(skips)) {
    const { end, timeline, executionTime, captured, words, done, said } = await live({
      mutex: blockedLine(),
      midway: (life) => void life.clock.after(1200, () => skip(life)),
    })
    assert.equal(timeline.at(-1)?.at, 1200)
    const why = `The job was ${what} before it was captured`
    assert.deepEqual([end.status, executionTime], ['timeout', 1000])
    assert.deepEqual(words, ['phase', 'captured', 'terminated'])
    assert.deepEqual([captured[0]!.at, captured[0]!.fields], [1200, { kind: 'none', why }])
    assert.deepEqual(done.slice(0, 2), ['1000 hold', '1200 kill timeout'])
    assert.deepEqual(
      said.filter(({ point }) => point === 'evidence/missing'),
      [{ point: 'evidence/missing', fields: { why } }],
    )
  }
})

test('Waiting for a capture is bounded, and giving up is reported', async () => {
  for (const script of [forEver, () => [{ at: 250, result: 7 }]] satisfies Script[]) {
    const { end, captured, done } = await live({ script, mutex: blockedLine() })
    const endedAt = script === forEver ? 1000 : 250
    assert.equal(end.status, script === forEver ? 'timeout' : 'ok')
    assert.equal(captured[0]!.at, endedAt + captureWaitMsMax)
    assert.match(
      JSON.stringify(captured[0]!.fields),
      /"none".*waited 5 s while others were captured/,
    )
    assert.ok(!done.some((line) => line.includes('capture')), done.join())
  }
})
