import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import { encodeFrame, FrameDecoder } from '../lib/frames.ts'
import { until } from '../../tests/conformance/stand.ts'
import { createAnalysisClient } from './analysis-client.ts'

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

/** Returns a function that advances the monotonic clock. */
function clockOf(t: TestContext): (ms: number) => void {
  const real = performance.now.bind(performance)
  let passed = 0
  // Mocked once: a second mock of the same method would not be undone, and would affect all later tests.
  t.mock.method(performance, 'now', () => real() + passed)
  return (ms) => void (passed += ms)
}

/** A client with a fake warden, whose processes answer each source with their name. */
function open() {
  const sent: string[] = []
  const deadlines: number[] = []
  const [spent, lost] = [new Set<string>(), new Set<string>()]
  let count = 0
  let held = Promise.resolve()
  const warden = {
    async start() {
      const id = `w${count++}`
      sent.push(`start ${id}`)
      await held
      const wall = { id, layers: [], idleBytes: 0, took: 1 }
      return { wall, socket: playedSocket(id, (source) => void sent.push(source)) }
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
    onEnded: () => undefined,
  }
  const emitter = { emit: () => undefined }
  const client = createAnalysisClient({ warden: warden as never, emitter, atOnce: 2, once: false })
  return {
    sent,
    deadlines,
    until: (isTrue: () => boolean) => until(isTrue, 'the process'),
    ready: () => client.ready(),
    ask: (text: string) => client.ask('tenant', text),
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

function playedSocket(id: string, tell: (source: string) => void): Duplex {
  const decoder = new FrameDecoder(2 ** 20)
  const socket: Duplex = new Duplex({
    read() {},
    write(chunk: Buffer, _, done) {
      for (const _frame of decoder.push(chunk)) {
        tell(`source ${id}`)
        socket.push(encodeFrame(2, id))
      }
      done()
    },
  })
  return Object.assign(socket, { ref: () => undefined, unref: () => undefined })
}
