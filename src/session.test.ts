import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { jobOf, verdictOf } from '../tests/fixtures/profile-world.ts'
import { SimulatedClock } from '../tests/sim/simulated-clock.ts'
import { limitsOf, phasesOf, profileOf, scheduleOf } from '../tests/sim/simulated-life.ts'
import { allControls, type Controls } from './contract/controls.ts'
import type { Job } from './contract/job.ts'
import type { Schedule } from './contract/phase.ts'
import type { SessionRooms } from './contract/pipeline.ts'
import type { Sandbox } from './contract/provider.ts'
import type { Session } from './contract/session.ts'
import { supervise } from './lives/supervise.ts'
import { createGate } from './output/gate.ts'
import { forkProfile } from './profile/fork-profile.ts'
import { openSession } from './session.ts'
import { createMockProvider } from './tiers/mock/provider.ts'

suite('A fork of a session', () => {
  test('is refused while its phases have conditions, or a CPU clock, and made without', async () => {
    const [open, shut] = phasesOf(1000, 1000)
    const least = scheduleOf([open!, shut!])
    for (const schedule of [
      scheduleOf([open!, { ...shut!, terminateIf: 'calls > 100' }]),
      scheduleOf([{ ...open!, advanceIf: 'output.bytes > 1000000' }, shut!]),
      { ...least, clock: 'cpu' },
    ] as const) {
      const { parent } = await played(schedule)
      await assert.rejects(parent.fork(1), { code: 'FORK_UNSUPPORTED', hint: /advance_if/ })
    }
    const { parent, clock } = await played(
      scheduleOf([{ ...open!, advanceIf: 'calls > 9' }, shut!]),
    )
    await clock.run(1100)
    assert.ok(await parent.fork(1))
    assert.ok(await (await played(least)).parent.fork(1))
  })

  test('loses a right when its parent does, however long the start of its wall takes', async () => {
    for (const [waitMs, told] of [
      [0, ['0 phase-0', '3000 phase-1']],
      [2000, ['0 phase-0', '1000 phase-1']],
      [4000, ['0 phase-0', '0 phase-1']],
    ] as const) {
      const { parent, clock, child } = await played(scheduleOf(phasesOf(4000, 5000)))
      await clock.run(1000)
      const { phases } = await child(await parent.fork(1), waitMs)
      await clock.run(9000)
      assert.deepEqual(phases, told)
    }
  })

  test('has its wall close the classes of calls that its parent lost after the save, before its release', async () => {
    const { parent, child, tighten } = await played(scheduleOf(phasesOf(4000)))
    const fork = await parent.fork(1)
    await tighten({ ...allControls, syscalls: ['exec'] })
    const { orders } = await child(fork, 0)
    assert.deepEqual(orders, ['exec', 'released'])
  })
})

/** An open session of a mock that can be forked, with phases on a played clock. */
async function played(schedule: Schedule) {
  const clock = new SimulatedClock()
  const lives: Wall[] = []
  let waitMs = 0
  const profile = profileOf({ schedule, limits: limitsOf({ timeout: 60_000 }) })
  const rooms = {
    clock,
    ready: async () => undefined,
    verify: () => ({ kind: 'unsigned' }),
    analyse: async () => ({ kind: 'verdict', verdict: verdictOf() }),
    prove: async () => undefined,
    profile: () => ({ kind: 'run', profile }),
    recall: (_job, _profile, _asker, run) => run(),
    async acquire(planned, _job, _analysis, _signal, launch) {
      await new Promise<void>((resolve) => void clock.after(waitMs, resolve))
      const made = launch ? await launch(planned) : await wallOf(planned, clock)
      lives.push(made as Wall)
      return {
        sandbox: made,
        queueTime: 0,
        startTime: 0,
        [Symbol.asyncDispose]: async () => undefined,
      }
    },
    supervise(sandbox, planned, _analysis, { signal, on, since }) {
      const emitter = { emit: () => undefined }
      const made = supervise({ sandbox, profile: planned, clock, emitter, signal, on, since })
      ;(sandbox as Wall).tightenBy = (to) => made.tighten(to, { actor: 'operator', reason: 'test' })
      return made
    },
    takeBundle: () => undefined,
    watchSession: (_job, session) => session,
    behaviorScore: () => 0,
    answer: () => ({
      call: async () => 'null',
      called: undefined,
      [Symbol.dispose]: () => undefined,
    }),
    forkProfile,
    shareTraffic: () => () => undefined,
    forked: () => undefined,
    gate: createGate,
    recordStart: () => ({ seq: 0, end: () => ({ seq: 1, hash: '' }) }),
    ended: () => undefined,
    lost: () => undefined,
    compared: () => undefined,
  } satisfies Partial<SessionRooms> as SessionRooms
  const { signal } = new AbortController()
  const opening = openSession(sessionJob('exec_1'), rooms, { signal })
  await clock.run(0)
  const parent = sessionOf(await opening)
  return {
    parent,
    clock,
    tighten: (to: Controls) => lives[0]!.tightenBy(to),
    /** Opens a child whose wall takes that long. */
    async child(fork: Awaited<ReturnType<Session['fork']>>, ms: number) {
      waitMs = ms
      const phases: string[] = []
      const opened = fork.open(sessionJob('exec_2'), {
        signal,
        on: ({ event, at, phase }) => void (event === 'phase' && phases.push(`${at} ${phase}`)),
      })
      await clock.run(clock.now() + ms)
      sessionOf(await opened)
      return { phases, orders: lives[1]!.orders }
    },
  }
}

const sessionOf = (opened: Awaited<ReturnType<typeof openSession>>): Session => {
  assert.ok(opened.kind === 'open')
  return opened.session
}

function sessionJob(id: string): Job {
  return { ...jobOf({}), id, session: { kind: 'open' } }
}

interface Wall extends Sandbox {
  /** Classes of calls that stay open, by each order, and the release. */
  readonly orders: string[]
  tightenBy: (to: Controls) => Promise<boolean>
}

async function wallOf(profile: Parameters<typeof forkProfile>[1], clock: SimulatedClock) {
  const sandbox = await createMockProvider({ script: () => [] }).launch(profile, clock)
  const orders: string[] = []
  const released = Promise.withResolvers<void>()
  const { run, tighten } = sandbox
  const session = {
    ready: released.promise,
    fork: async () => ({
      pausedMs: 1,
      launch: (own: Parameters<typeof forkProfile>[1]) => wallOf(own, clock),
      close: async () => undefined,
    }),
    close: async () => undefined,
  }
  return Object.assign(sandbox, {
    orders,
    session,
    tighten(to: Controls) {
      orders.push(to.syscalls === 'any' ? 'any' : to.syscalls.join())
      return tighten.call(sandbox, to)
    },
    run: ((task, io) =>
      run.call(sandbox, task, {
        ...io,
        released() {
          orders.push('released')
          io.released()
          released.resolve()
        },
      })) satisfies Sandbox['run'],
  })
}
