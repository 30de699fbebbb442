import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import type { JobAccount } from '../contract/job.ts'
import type { WallEnd } from '../contract/warden.ts'
import { encodeFrame, FrameDecoder } from '../lib/frames.ts'
import { until } from '../../tests/conformance/stand.ts'
import { createAnalysisClient } from './analysis-client.ts'
import { NoAnalystError } from './no-analyst.ts'

const large = 'x'.repeat(100_000)

test('Successive sources are analysed under one claim, without a request to the warden in between', async () => {
  await using stand = open()
  for (let n = 0; n < 20; n++) assert.equal(await stand.ask('small'), 'w0')
  const asked = stand.sent.filter((one) => !one.startsWith('source'))
  assert.deepEqual(asked.toSorted(), ['claim w0', 'start w0', 'start w1'])
})

test('After a large source the idle process is claimed again, and the next source claims nothing', async () => {
  await using stand = open()
  await stand.ask(large)
  await stand.until(() => stand.count('claim w0') === 2)
  await stand.ask('small')
  assert.equal(stand.count('claim w0'), 2)
})

test('A source that arrives before the upkeep claims the process itself', async () => {
  await using stand = open()
  await stand.ask(large)
  await stand.ask('small')
  assert.equal(stand.count('claim w0'), 2)
  await sleep(300)
  assert.equal(stand.count('claim w0'), 2)
})

test('After many small sources the process is claimed again as well', async () => {
  await using stand = open()
  for (let n = 0; n < 64; n++) await stand.ask('small')
  await stand.until(() => stand.count('claim w0') === 2)
})

test('A process that retains too much memory ends once its replacement is ready, and the next source waits for neither', async () => {
  await using stand = open()
  await stand.ready()
  const isReady = stand.holdStarts()
  await stand.ask(large)
  stand.spend('w0')
  await stand.until(() => stand.count('claim w0') === 2)
  await sleep(20)
  assert.deepEqual([stand.count('start w1'), stand.count('kill w0')], [1, 0])
  isReady()
  await stand.until(() => stand.count('kill w0') === 1)
  const later = stand.holdStarts()
  assert.equal(await stand.ask('small'), 'w1')
  later()
})

test('A source that arrives during the upkeep of a spent process is sent to another one', async () => {
  await using stand = open()
  await stand.ask(large)
  stand.spend('w0')
  await stand.until(() => stand.count('claim w0') === 2)
  assert.equal(await stand.ask('small'), 'w1')
  assert.equal(stand.count('source w0'), 1)
})

test('A server that resumes after the deadline of an idle process claims it again, and uses another if it is gone', async (t) => {
  await using stand = open()
  const passTime = clockOf(t)
  await stand.ask('small')
  passTime(6_000)
  stand.lose('w0')
  assert.equal(await stand.ask('small'), 'w1')
  assert.equal(stand.count('source w0'), 1)
})

test('The deadline at the warden is never later than the answer deadline, renewed or not', async (t) => {
  await using stand = open()
  const passTime = clockOf(t)
  for (let n = 0; n < 30; n++) {
    await stand.ask('small')
    passTime(100)
  }
  assert.ok(stand.deadlines.length > 2)
  for (const deadline of stand.deadlines) assert.ok(deadline <= 5_000, `${deadline}`)
})

test('A process that cannot start is no failure of the source, the first one of a machine or another', async () => {
  for (const fault of [
    new MayflyError('UNAVAILABLE', 'Cannot start a wall: it ended (SIGKILL)'),
    new MayflyError('INTERNAL', 'Cannot start a wall: spawn EAGAIN'),
    new Error('spawn EAGAIN'),
  ]) {
    const overloaded = { code: 'OVERLOADED', message: /^Cannot analyse now: /, retryAfterMs: 1000 }
    await using stand = open()
    await stand.ready()
    stand.failStarts(fault)
    assert.equal(await stand.ask('small'), 'w0')
    // Bound to its tenant: another one needs a process of its own, at each of its tries.
    for (let n = 0; n < 4; n++)
      await assert.rejects(stand.ask('small', { tenant: 'other' }), overloaded)
    await using first = open()
    first.failStarts(fault)
    await assert.rejects(first.ask('small'), overloaded)
  }
})

test('A first process that fails at three tries is reported with its own cause and remedy, until one starts', async () => {
  await using stand = open({ atOnce: 4 })
  const message = 'Cannot start a wall: it ended (1): a file is missing'
  const hint = 'Install the package again'
  stand.failStarts(new MayflyError('UNAVAILABLE', message, { hint }))
  const isOverloaded = (asked: Promise<string>) => assert.rejects(asked, { code: 'OVERLOADED' })
  const start = stand.holdStarts()
  // Two tries at the same time count as one.
  const both = [isOverloaded(stand.ask('small')), isOverloaded(stand.ask('small'))]
  await stand.until(() => stand.count('start w1') === 1)
  start()
  await Promise.all(both)
  await isOverloaded(stand.ask('small'))
  for (let n = 0; n < 2; n++)
    await assert.rejects(stand.ask('small'), (thrown) => {
      assert.ok(thrown instanceof NoAnalystError)
      assert.deepEqual(
        [thrown.code, thrown.message, thrown.hint, thrown.retryAfterMs],
        ['UNAVAILABLE', `Cannot analyse: ${message}`, hint, undefined],
      )
      return true
    })
  stand.failStarts(new MayflyError('OVERLOADED', 'Cannot start a wall: all are taken'))
  await isOverloaded(stand.ask('small'))
  stand.failStarts(undefined)
  assert.match(await stand.ask('small'), /^w\d+$/)
})

test('Failures that pass use up no try of a first process', async () => {
  await using stand = open()
  for (const code of ['OVERLOADED', 'WARDEN_LOST', 'OVERLOADED'] as const) {
    stand.failStarts(new MayflyError(code, 'Cannot start a wall'))
    await assert.rejects(stand.ask('small'), { code })
  }
  stand.failStarts(new Error('spawn EAGAIN'))
  for (const code of ['OVERLOADED', 'OVERLOADED', 'UNAVAILABLE'] as const)
    await assert.rejects(stand.ask('small'), { code })
})

test('A first process that was started ahead of all sources, and is gone, counts as started', async () => {
  await using stand = open()
  await stand.ready()
  stand.lose('w0')
  stand.failStarts(new Error('spawn EAGAIN'))
  for (let n = 0; n < 4; n++) await assert.rejects(stand.ask('small'), { code: 'OVERLOADED' })
})

test('A single source, which is not tried again, has the cause at once', async () => {
  await using stand = open({ once: true })
  stand.failStarts(new Error('spawn ENOENT'))
  await assert.rejects(stand.ask('small'), {
    code: 'UNAVAILABLE',
    hint: 'Run "mayfly doctor" for the reason',
  })
})

test('A machine without a jail says why', async () => {
  await using stand = open()
  stand.failStarts(new MayflyError('NO_JAIL', 'Cannot jail a process here'))
  await assert.rejects(stand.ask('small'), { code: 'NO_JAIL' })
})

test('A process that ends because the machine is short of memory is no failure of the source, and any other end is one', async () => {
  for (const [how, code] of [
    ['pressure', 'OVERLOADED'],
    ['memory', 'UNAVAILABLE'],
    ['deadline', 'UNAVAILABLE'],
    ['exit', 'UNAVAILABLE'],
  ] as const) {
    await using stand = open()
    await stand.ready()
    stand.endWith(how)
    await assert.rejects(stand.ask('small'), { code })
  }
})

test('The time in a process is charged to the account of the source, and that in the queue to nobody', async (t) => {
  await using stand = open()
  const passTime = clockOf(t)
  const charged: number[] = []
  const account = { charge: (ms: number) => void charged.push(Math.floor(ms / 1000)) }
  const sources = ['small', 'small', 'small'].map((text) => stand.ask(text, { account }))
  stand.onSource(() => passTime(2_000))
  await Promise.all(sources)
  assert.deepEqual(charged, [2, 2, 2])
  stand.endWith('memory')
  stand.onSource(() => passTime(3_000))
  await assert.rejects(stand.ask('small', { account }), { code: 'UNAVAILABLE' })
  assert.deepEqual(charged, [2, 2, 2, 3])
})

test('Sources of one sender leave a process to another of its tenant', async () => {
  await using stand = open({ atOnce: 4 })
  stand.holdAnswers()
  const flood = { account: { sender: 'flood', charge: () => undefined } }
  const asked = [stand.ask('small', flood), stand.ask('small', flood)]
  asked.push(stand.ask('small', { account: { ...flood.account, sender: 'quiet' } }))
  await stand.until(() => stand.sources() === 2)
  const own = stand.answerHeld()
  await Promise.all(asked)
  assert.equal(own, 2)
})

/** Returns a function that advances the monotonic clock. */
function clockOf(t: TestContext): (ms: number) => void {
  const real = performance.now.bind(performance)
  let passed = 0
  // Mocked once: a second mock of the same method would not be undone, and would affect all later tests.
  t.mock.method(performance, 'now', () => real() + passed)
  return (ms) => void (passed += ms)
}

/** A client with a fake warden, whose processes answer each source with their name. */
function open({ atOnce = 2, once = false } = {}) {
  const sent: string[] = []
  const deadlines: number[] = []
  const [spent, lost] = [new Set<string>(), new Set<string>()]
  let count = 0
  let held = Promise.resolve()
  let startFault: Error | undefined
  const { hear, onEnded, ...played } = playedAnswers(sent)
  const warden = {
    async start() {
      const id = `w${count++}`
      sent.push(`start ${id}`)
      await held
      if (startFault) throw startFault
      const wall = { id, layers: [], idleBytes: 0, took: 1 }
      return { wall, socket: playedSocket(id, hear) }
    },
    async claim(id: string, { deadline }: { readonly deadline: number }) {
      sent.push(`claim ${id}`)
      if (lost.has(id)) throw new MayflyError('NOT_FOUND', 'gone')
      deadlines.push(deadline)
      return { spent: spent.has(id) }
    },
    kill: async (id: string) => void sent.push(`kill ${id}`),
    arm: (_: string, deadline: number) => void deadlines.push(deadline),
    rest: () => undefined,
    onLost: () => () => undefined,
    onEnded,
  }
  const emitter = { emit: () => undefined }
  const client = createAnalysisClient({ warden: warden as never, emitter, atOnce, once })
  return {
    sent,
    deadlines,
    until: (isTrue: () => boolean) => until(isTrue, 'the process'),
    ready: () => client.ready(),
    ask: (
      text: string,
      { tenant = 'tenant', account }: { readonly tenant?: string; account?: JobAccount } = {},
    ) => client.ask(tenant, text, account),
    failStarts: (fault: Error | undefined) => void (startFault = fault),
    ...played,
    count: (one: string) => sent.filter((other) => other === one).length,
    spend: (id: string) => void spent.add(id),
    lose: (id: string) => void lost.add(id),
    /** Starts stay pending until the returned function is called. */
    holdStarts(): () => void {
      const gate = Promise.withResolvers<void>()
      held = gate.promise
      return gate.resolve
    },
    [Symbol.asyncDispose]: () => client.close(),
  }
}

/** Decides how the processes answer: at once, later, or by their end. */
function playedAnswers(sent: string[]) {
  let how: WallEnd | undefined
  let onSource = (): void => undefined
  /** Answers that wait; undefined where none does. */
  let waiting: (() => void)[] | undefined
  const ends = new Map<string, (how: WallEnd, peak: number, detail: string, exit: object) => void>()
  return {
    hear(id: string, answer: () => void): void {
      sent.push(`source ${id}`)
      onSource()
      if (how) ends.get(id)!(how, 0, 'played', {})
      else if (waiting) waiting.push(answer)
      else answer()
    },
    onEnded: (id: string, then: () => void) => void ends.set(id, then),
    endWith: (end: WallEnd) => void (how = end),
    onSource: (then: () => void) => void (onSource = then),
    sources: () => sent.filter((one) => one.startsWith('source')).length,
    holdAnswers: () => void (waiting = []),
    /** Returns how many waited. */
    answerHeld(): number {
      const all = waiting ?? []
      waiting = undefined
      for (const answer of all) answer()
      return all.length
    },
  }
}

function playedSocket(id: string, hear: (id: string, answer: () => void) => void): Duplex {
  const decoder = new FrameDecoder(2 ** 20)
  const socket: Duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      for (const _frame of decoder.push(chunk)) {
        hear(id, () => socket.push(encodeFrame(2, id)))
      }
      done()
    },
  })
  return Object.assign(socket, { ref: () => undefined, unref: () => undefined })
}
