import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { jobOf, verdictOf } from '../tests/fixtures/profile-world.ts'
import { SimulatedClock } from '../tests/sim/simulated-clock.ts'
import { limitsOf, phasesOf, profileOf, scheduleOf } from '../tests/sim/simulated-life.ts'
import { allControls, controlsBeyond, meet, type Controls } from './contract/controls.ts'
import type { TimelineListener } from './contract/event.ts'
import type { Job } from './contract/job.ts'
import type { Schedule } from './contract/phase.ts'
import type { SessionRooms } from './contract/pipeline.ts'
import type { Enforced, Sandbox } from './contract/provider.ts'
import type { Session } from './contract/session.ts'
import { terminalShell } from './contract/terminal.ts'
import type { Analysis } from './contract/verdict.ts'
import { supervise } from './lives/supervise.ts'
import { newId } from './lib/id.ts'
import { createGate } from './output/gate.ts'
import { forkProfile } from './profile/fork-profile.ts'
import { openSession } from './session.ts'
import { createAnalyst } from './threat/analyse.ts'
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

suite('A session whose code has a risk', () => {
  const schedule = scheduleOf(phasesOf(60_000))

  test('loses cores, processes and disk bandwidth, and never its memory, which its earlier execs hold', async () => {
    const { exec, wall } = await played(schedule)
    const { status, timeline } = await exec(risky)
    assert.equal(status, 'ok')
    const [line] = timeline.filter(({ event }) => event === 'tightened')
    assert.deepEqual(line?.controls, { cpu: 0.5, processes: 8, io: 4e6 })
    assert.equal(wall.lowest().memory, allControls.memory)
    assert.deepEqual((await exec(risky)).timeline, [])
  })

  test('refuses the exec alone where its wall cannot lower an amount, and goes on', async () => {
    for (const answer of ['throws', ['io'], ['cpu', 'processes', 'io']] as const) {
      const { exec, wall, ran } = await played(schedule)
      wall.answer = answer
      const { status, error, session } = await exec(risky)
      assert.deepEqual([status, error?.code], ['blocked', 'FORBIDDEN'])
      assert.match(JSON.stringify(error?.details), /Run it as a job, or open a session for it/)
      assert.deepEqual(session, { id: 'exec_1', state: 'kept', ended: false })
      assert.deepEqual(ran, [])
      assert.equal((await exec(tame)).status, 'ok')
      wall.answer = 0
      assert.equal((await exec(risky)).status, 'ok')
    }
  })

  test('refuses an exec while its wall is late to lower an amount, and runs it once that holds', async () => {
    const { exec, wall, clock } = await played(scheduleOf(phasesOf(30_000, 30_000)))
    wall.answer = 20_000
    const { status, error, session } = await exec(risky)
    assert.deepEqual([status, error?.code, session?.state], ['unavailable', 'UNAVAILABLE', 'kept'])
    assert.equal((await exec(tame)).status, 'ok')
    wall.answer = 0
    assert.equal((await exec(risky)).status, 'unavailable')
    await clock.run(25_000)
    assert.equal((await exec(risky)).status, 'ok')
    assert.equal(wall.lowest().cpu, 0.5)
    await clock.run(31_000)
    assert.equal((await exec(tame)).status, 'ok')
    assert.equal(wall.lowest().network.allow.length, 0)
  })

  test('refuses an exec while it is frozen, without an order to its wall, and runs it after a thaw', async () => {
    const { exec, wall, pty, note } = await played(schedule)
    note('frozen')
    const orders = wall.orders.length
    for (const ends of [exec, pty]) {
      const { status, error } = await ends(risky)
      assert.deepEqual([status, error?.code], ['unavailable', 'UNAVAILABLE'])
      assert.match(error!.message, /is frozen/)
      assert.match(JSON.stringify(error?.details), /Thaw it first/)
    }
    assert.deepEqual([wall.orders.length, wall.lowest().cpu], [orders, 1])
    note('thawed')
    assert.equal((await exec(risky)).status, 'ok')
    assert.equal(wall.lowest().cpu, 0.5)
  })

  test('is no session that was kept, if it ends meanwhile', async () => {
    const { exec, wall } = await played(scheduleOf(phasesOf(2000)))
    wall.answer = 3000
    const { status, error, session } = await exec(risky)
    assert.deepEqual([status, error?.code], ['terminated', 'SESSION_ENDED'])
    assert.deepEqual(session, { id: 'exec_1', state: 'lost', ended: true })
  })

  test('tells what it has lost in each later outcome, and in that of a terminal', async () => {
    const { exec, pty } = await played(schedule)
    const told = ({ profile }: Awaited<ReturnType<typeof exec>>) =>
      profile.explain.map(({ field, value, because }) => `${field} ${String(value)}: ${because}`)
    assert.deepEqual(told(await exec(tame)), [
      'limits.cpu 1: default',
      'controls.cpu 1: limits.cpu',
    ])
    await exec(risky)
    const why = 'then the restraint of an exec (risk 80)'
    const rows = [`limits.cpu 0.5: default, ${why}`, `controls.cpu 0.5: limits.cpu, ${why}`]
    assert.deepEqual(told(await exec(tame)), rows)
    assert.deepEqual(told(await pty(tame)), rows)
  })

  test('loses nothing by an analysis that did not end, which says nothing about the code', async () => {
    const ask = () => Promise.reject(new Error('too late'))
    const analyst = createAnalyst({ ask, emitter: { emit: () => undefined } })
    const unread = await analyst(jobOf({}))
    assert.equal(unread.verdict.risk, 90)
    const { exec, wall } = await played(schedule)
    assert.equal((await exec(unread)).status, 'ok')
    assert.equal(wall.lowest().cpu, 1)
    const { findings } = unread.verdict
    const deep = { ...findings[0]!, description: 'nested too deeply' }
    await exec({ kind: 'verdict', verdict: { ...unread.verdict, findings: [deep] } })
    assert.equal(wall.lowest().cpu, 0.5)
  })

  test('is restrained by the command of a terminal as well, before it is opened', async () => {
    const { pty, wall, ran } = await played(schedule)
    assert.equal((await pty(risky)).status, 'ok')
    assert.equal(wall.lowest().cpu, 0.5)
    assert.deepEqual(ran, ['terminal with 0.5'])
    const other = await played(schedule)
    other.wall.answer = 'throws'
    assert.equal((await other.pty(risky)).error?.code, 'FORBIDDEN')
    assert.deepEqual(other.ran, [])
  })

  test('gives its anomalies to the exec or terminal that runs, until its end, and not to code that does not', async () => {
    const { exec, pty, blamed } = await played(schedule)
    await exec(tame)
    await pty({ kind: 'verdict', verdict: { ...risky.verdict, digest: 'command' } })
    const { verdict } = tame
    await exec({ kind: 'syntax-error', message: '', line: 1, column: 1, verdict })
    await exec({ kind: 'verdict', verdict: { ...risky.verdict, risk: 100, digest: 'blocked' } })
    await pty({ kind: 'verdict', verdict: { ...risky.verdict, risk: 100, digest: 'blocked' } })
    const ends = ['exec is over', 'terminal is over']
    assert.deepEqual(blamed, [`exec ${verdict.digest}`, ends[0], 'terminal command', ends[1]])
  })

  test('tells a terminal without a command, or with a shell as its command, as a shell, and any other by its command', async () => {
    const { pty, blamed } = await played(schedule)
    const verdict = verdictOf(0, { digest: 'digest' })
    for (const command of [terminalShell, 'exec /bin/sh -i', 'bash', 'bash x.sh'])
      assert.equal((await pty({ kind: 'verdict', verdict }, command)).status, 'ok')
    const [shell, other] = ['shell digest', 'terminal digest']
    const told = [shell, 'shell is over']
    assert.deepEqual(blamed, [...told, ...told, ...told, other, 'terminal is over'])
  })
})

suite('A session that is closed', () => {
  test('at its deadline or unused names that to the exec and the terminal that end with it, and to later calls', async () => {
    for (const [at, told, later] of [
      ['timeout', /open it with a longer "timeout"/, /its time was over/],
      ['idle', /open the session with a longer "idle"/, /nothing used it for its "idle" time/],
      [undefined, /session (?:was ended while this ran|of the terminal ended)/i, /it has ended/],
    ] as const) {
      const { parent, exec, pty, wall } = await played(scheduleOf(phasesOf(60_000)))
      const started = endsWhenClosed(wall)
      const running = [exec(tame), pty(tame)]
      await started
      void parent.close(at)
      for (const { status, error } of await Promise.all(running)) {
        assert.deepEqual([status, error?.code], ['terminated', 'SESSION_ENDED'])
        assert.match(error!.message, told)
      }
      await assert.rejects(parent.exec(execJob()), { code: 'SESSION_ENDED', message: later })
    }
  })
})

const tame = { kind: 'verdict', verdict: verdictOf() } as const
const risky = { kind: 'verdict', verdict: verdictOf(80) } as const

/** State of the rooms of a played session. */
interface World {
  readonly clock: SimulatedClock
  readonly lives: Wall[]
  /** Milliseconds that a wall takes to start. */
  waitMs: number
  /** Analysis of any code from now on. */
  analysis: Analysis
  readonly ran: string[]
  readonly blamed: string[]
  /** Takes entries for the life that was made last. */
  on: TimelineListener | undefined
}

/** An open session of a mock that can be forked, with phases on a played clock. */
async function played(schedule: Schedule) {
  const clock = new SimulatedClock()
  const state = { waitMs: 0, analysis: tame, on: undefined }
  const world: World = { clock, lives: [], ran: [], blamed: [], ...state }
  const { lives, ran, blamed } = world
  const { signal } = new AbortController()
  const opening = openSession(sessionJob('exec_1'), roomsOf(schedule, world), { signal })
  await clock.run(0)
  const parent = sessionOf(await opening)
  return {
    parent,
    clock,
    ran,
    blamed,
    wall: lives[0]!,
    /** Runs an exec, or opens a terminal, whose code has this analysis. */
    async exec(of: Analysis) {
      world.analysis = of
      return await playing(clock, parent.exec(execJob()))
    },
    async pty(of: Analysis, command = 'true') {
      world.analysis = of
      const task = { command, term: 'xterm', cols: 80, rows: 24 }
      const opened = await playing(
        clock,
        parent.terminal(execJob(), task, () => undefined),
      )
      return opened.kind === 'ended' ? opened.outcome : await opened.terminal.ended
    },
    tighten: (to: Controls) => lives[0]!.tightenBy(to),
    /** Notes a freeze or a thaw, as the orders of an operator do. */
    note: (event: 'frozen' | 'thawed') =>
      world.on?.({ at: clock.now(), zone: 'main', event, reason: 'operator' }, true),
    /** Opens a child whose wall takes that long. */
    async child(fork: Awaited<ReturnType<Session['fork']>>, ms: number) {
      world.waitMs = ms
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

/** Plays the clock until the action is over. */
async function playing<T>(clock: SimulatedClock, action: Promise<T>): Promise<T> {
  const state = { isOver: false }
  void action.catch(() => undefined).finally(() => (state.isOver = true))
  for (let step = 0; step < 100 && !state.isOver; step++) await clock.run(clock.now() + 100)
  return await action
}

function roomsOf(schedule: Schedule, world: World): SessionRooms {
  const { clock, lives, ran, blamed } = world
  const { full, less } = profilesOf(schedule)
  return {
    clock,
    ready: async () => undefined,
    verify: () => ({ kind: 'unsigned' }),
    analyse: async () => world.analysis,
    prove: async () => undefined,
    profile(_job, { risk }, _signed, within = (plan) => plan) {
      if (risk < 100) return within({ kind: 'run', profile: risk >= 80 ? less : full })
      return within({ kind: 'blocked', profile: full, error: { code: 'FORBIDDEN', message: '' } })
    },
    recall: (_job, _profile, _asker, run) => run(),
    async acquire(planned, _job, _analysis, _signal, launch) {
      await new Promise<void>((resolve) => void clock.after(world.waitMs, resolve))
      const made = launch ? await launch(planned) : await wallOf(planned, clock, ran)
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
      world.on = on
      const made = supervise({ sandbox, profile: planned, clock, emitter, signal, on, since })
      ;(sandbox as Wall).tightenBy = (to) => made.tighten(to, { actor: 'operator', reason: 'test' })
      return made
    },
    tightens: ({ tightens = [] }) => tightens,
    codeRuns(_session, { digest }, as) {
      blamed.push(`${as} ${digest}`)
      return () => void blamed.push(`${as} is over`)
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
  }
}

/** Profiles of the session, and of one that was opened for code of a high risk. */
function profilesOf(schedule: Schedule) {
  const full = profileOf({
    schedule,
    controls: { ...allControls, cpu: 1, processes: 64 },
    limits: limitsOf({ timeout: 60_000 }),
    explain: [
      { field: 'limits.cpu', value: 1, because: 'default' },
      { field: 'controls.cpu', value: 1, because: 'limits.cpu' },
    ],
  })
  const lower = { cpu: 0.5, memory: 2 ** 26, processes: 8, io: 4e6 }
  return { full, less: { ...full, controls: { ...full.controls, ...lower } } }
}

const sessionOf = (opened: Awaited<ReturnType<typeof openSession>>): Session => {
  assert.ok(opened.kind === 'open')
  return opened.session
}

function execJob(): Job {
  return { ...jobOf({}), id: newId('exec'), session: { kind: 'exec', of: 'exec_1' } }
}

function sessionJob(id: string): Job {
  return { ...jobOf({}), id, session: { kind: 'open' } }
}

interface Wall extends Sandbox {
  /** Classes of calls that stay open, by each order, and the release. */
  readonly orders: string[]
  tightenBy: (to: Controls) => Promise<boolean>
  /** Milliseconds until an order is answered, controls that stay open, or a failure. */
  answer: number | 'throws' | readonly (keyof Controls)[]
  /** Controls that it holds. */
  lowest(): Controls
}

/** Has an exec and a terminal of this wall run until it is closed; resolves when both have begun. */
async function endsWhenClosed(wall: Wall): Promise<void> {
  const [exec, terminal, closed] = [0, 1, 2].map(() => Promise.withResolvers<void>())
  const error = { code: 'SESSION_ENDED', message: 'The session was ended while this ran' }
  const end = { status: 'terminated', error, resultText: 'null', encoding: 'json', cpuTime: 0 }
  Object.assign(wall.session!, {
    async exec() {
      exec!.resolve()
      await closed!.promise
      return {
        end: { ...end, artifacts: [] },
        state: 'lost',
        ended: true,
        executionTime: 0,
      }
    },
    async terminal() {
      terminal!.resolve()
      return { ended: closed!.promise.then(() => ({ lost: true })), close: () => undefined }
    },
    async close() {
      closed!.resolve()
    },
  })
  await Promise.all([exec!.promise, terminal!.promise])
}

async function wallOf(
  profile: Parameters<typeof forkProfile>[1],
  clock: SimulatedClock,
  ran: string[] = [],
): Promise<Sandbox> {
  const sandbox = await createMockProvider({ script: () => [] }).launch(profile, clock)
  const orders: string[] = []
  const released = Promise.withResolvers<void>()
  const { run } = sandbox
  let held = profile.controls
  const first: Pick<Wall, 'answer'> = { answer: 0 }
  const end = {
    status: 'ok',
    resultText: '1',
    encoding: 'json',
    cpuTime: 0,
    artifacts: [],
  } as const
  const session = {
    ready: released.promise,
    fork: async () => ({
      pausedMs: 1,
      launch: (own: Parameters<typeof forkProfile>[1]) => wallOf(own, clock),
      close: async () => undefined,
    }),
    close: async () => undefined,
    async exec() {
      ran.push(`exec with ${held.cpu}`)
      return { end, state: 'kept', ended: false, executionTime: 0 }
    },
    async terminal() {
      ran.push(`terminal with ${held.cpu}`)
      return { ended: Promise.resolve({ exitCode: 0 }), close: () => undefined }
    },
  }
  const wall = Object.assign(sandbox, {
    orders,
    session,
    tightens: ['cpu', 'memory', 'processes', 'io'],
    ...first,
    lowest: () => held,
    async tighten(to: Controls): Promise<Enforced> {
      orders.push(to.syscalls === 'any' ? 'any' : to.syscalls.join())
      const looser = controlsBeyond(to, held)
      if (looser.length > 0) throw new Error(`looser: ${looser.join()}`)
      const { answer: next } = wall
      // An order of what it holds already is answered at once.
      const isHeld = controlsBeyond(held, to).length === 0
      if (next === 'throws' && !isHeld) throw new Error('the kernel says no')
      if (typeof next === 'number' && next > 0 && !isHeld)
        await new Promise<void>((resolve) => void clock.after(next, resolve))
      const open = typeof next === 'object' ? next : []
      const left = Object.fromEntries(open.map((name) => [name, held[name]]))
      held = { ...meet(held, to), ...left }
      return { controls: held, took: 0, unenforced: controlsBeyond(held, to) }
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
  return wall
}
