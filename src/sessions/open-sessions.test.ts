import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SessionBound } from '../contract/exec.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Profile } from '../contract/profile.ts'
import type { Session } from '../contract/session.ts'
import type { TerminalPrinter } from '../contract/terminal.ts'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { OpenSessions } from './open-sessions.ts'

const S = 1000
const bounds = () => ({ lifetime: 100 * S, timeout: 60 * S, idle: 10 * S }) as never
const task = { cols: 80, rows: 24 } as never

/** Session without a wall: only deadline and idle timeout end it. */
class FakeSession implements Session {
  readonly id: string
  readonly profile = { limits: { timeout: 90 * S }, tier: 'process' } as Profile
  readonly provider = 'fake'
  readonly files = {} as never
  isBusy = false
  print: TerminalPrinter | undefined
  readonly #ended = Promise.withResolvers<Outcome>()
  readonly ended = this.#ended.promise
  closedAt: number | undefined
  readonly #clock: SimulatedClock

  constructor(id: string, clock: SimulatedClock) {
    this.id = id
    this.#clock = clock
  }

  execEnd: Promise<void> | undefined

  async exec(): Promise<Outcome> {
    await this.execEnd
    return { metrics: { cpuTime: 2 } } as Outcome
  }

  async terminal(_job: Job, _task: unknown, print: TerminalPrinter) {
    this.print = print
    const ended = this.ended
    const nothing = () => undefined
    const write = async () => undefined
    const close = () => ended
    const terminal = { id: 't', ended, write, resize: nothing, signal: nothing, close }
    return { kind: 'open', terminal } as const
  }

  async fork(): Promise<never> {
    throw new Error('a session without a wall is not forked')
  }

  bound: SessionBound | undefined

  async close(at?: SessionBound): Promise<Outcome> {
    this.bound = at
    this.closedAt ??= this.#clock.now()
    this.#ended.resolve({} as Outcome)
    return await this.ended
  }
}

function open(asked: { timeout?: number; idle?: number } = {}) {
  const clock = new SimulatedClock()
  const sessions = new OpenSessions({ clock, bounds })
  const session = new FakeSession('exec_1', clock)
  const job = { tenant: 'a', principal: 'one' } as Job
  const own = { language: 'python', labels: {}, ...asked } as never
  return { clock, sessions, session, job, it: sessions.add(session, job, own) }
}

test('A session without an exec ends after its idle time, counted from the last use', async () => {
  const { clock, session, it, job } = open()
  await clock.run(9 * S)
  await it.exec(job, {})
  await clock.run(18 * S)
  assert.equal(session.closedAt, undefined)
  await clock.run()
  assert.deepEqual([session.closedAt, session.bound], [19 * S, 'idle'])
})

test('Bytes of a terminal count as use, in either direction', async () => {
  const { clock, session, it, job } = open()
  const opened = await it.terminal(job, task, () => undefined)
  assert.equal(opened.kind, 'open')
  await clock.run(9 * S)
  if (opened.kind === 'open') await opened.terminal.write(Buffer.from('typed'))
  await clock.run(18 * S)
  await session.print!(Buffer.from('printed'))
  await clock.run(27 * S)
  assert.equal(session.closedAt, undefined)
  await clock.run()
  assert.equal(session.closedAt, 28 * S)
})

test('A busy session is not idle, and its deadline ends it all the same', async () => {
  const { clock, session } = open()
  session.isBusy = true
  await clock.run()
  assert.deepEqual([session.closedAt, session.bound], [60 * S, 'timeout'])
})

test('A deadline is renewed up to the longest life, which the profile may shorten', async () => {
  const { clock, session, it, job } = open({ timeout: 20 * S, idle: 80 * S })
  await clock.run(19 * S)
  const { expiresAt } = it.renew(1000 * S)
  assert.equal(Date.parse(expiresAt) - clock.date(), 71 * S)
  await clock.run(70 * S)
  await it.exec(job, {})
  await clock.run()
  assert.equal(session.closedAt, 90 * S)
})

test('An ended session cannot be found, and leaves no timer', async () => {
  const { clock, session, sessions } = open()
  const owner = { tenant: 'a', principal: 'one', isAdmin: false }
  assert.equal(sessions.find('exec_1', owner).session, session)
  for (const other of [
    { ...owner, principal: 'two' },
    { ...owner, tenant: 'b', isAdmin: true },
  ])
    assert.throws(() => sessions.find('exec_1', other), { code: 'NOT_FOUND' })
  assert.equal(
    sessions.find('exec_1', { ...owner, principal: 'two', isAdmin: true }).session,
    session,
  )
  await sessions.closeAll()
  await session.ended
  await clock.run(S)
  assert.throws(() => sessions.find('exec_1', owner), { code: 'NOT_FOUND' })
  assert.equal(clock.pending, 0)
  assert.equal(session.bound, undefined)
})

test('A drain closes a session at once, a session with an exec when that has ended, and at last one whose exec goes on', async () => {
  const { clock, session, sessions, job, it } = open()
  const [ending, endless] = ['exec_2', 'exec_3'].map((id) => new FakeSession(id, clock)) as [
    FakeSession,
    FakeSession,
  ]
  const asked = { language: 'python', labels: {} } as never
  const exec = Promise.withResolvers<void>()
  ending.execEnd = exec.promise
  endless.execEnd = new Promise(() => undefined)
  await it.exec(job, {})
  const result = sessions.add(ending, job, asked).exec(job, {})
  void sessions.add(endless, job, asked).exec(job, {})

  const drained = sessions.drain(5 * S)
  await clock.run(2 * S)
  assert.deepEqual([session.closedAt, ending.closedAt, endless.closedAt], [0, undefined, undefined])
  exec.resolve()
  await result
  await clock.run(5 * S)
  await drained
  assert.deepEqual([ending.closedAt, endless.closedAt], [2 * S, 5 * S])
})
