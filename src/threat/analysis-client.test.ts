import assert from 'node:assert/strict'
import { Duplex } from 'node:stream'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError } from '../contract/error.ts'
import { encodeFrame, FrameDecoder } from '../lib/frames.ts'
import { until } from '../../tests/conformance/stand.ts'
import { createAnalysisClient } from './analysis-client.ts'

const large = 'x'.repeat(100_000)

test('Sources that follow one another are analysed under one claim, and nothing is asked of the warden between', async () => {
  await using stand = open()
  for (let n = 0; n < 20; n++) assert.equal(await stand.ask('small'), 'w0')
  const asked = stand.sent.filter((one) => !one.startsWith('source'))
  assert.deepEqual(asked.toSorted(), ['claim w0', 'start w0', 'start w1'])
})

test('After a large source the process is claimed anew while it waits, and the next source claims nothing', async () => {
  await using stand = open()
  await stand.ask(large)
  await stand.until(() => stand.count('claim w0') === 2)
  await stand.ask('small')
  assert.equal(stand.count('claim w0'), 2)
})

test('A source that comes before that look claims the process itself', async () => {
  await using stand = open()
  await stand.ask(large)
  await stand.ask('small')
  assert.equal(stand.count('claim w0'), 2)
  await sleep(300)
  assert.equal(stand.count('claim w0'), 2)
})

test('After many small sources it is claimed anew as well', async () => {
  await using stand = open()
  for (let n = 0; n < 64; n++) await stand.ask('small')
  await stand.until(() => stand.count('claim w0') === 2)
})

test('A process that kept too much ends when another is ready, and the next source waits for none', async () => {
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

test('A source that comes while a spent process is looked at goes to another one', async () => {
  await using stand = open()
  await stand.ask(large)
  stand.spend('w0')
  await stand.until(() => stand.count('claim w0') === 2)
  assert.equal(await stand.ask('small'), 'w1')
  assert.equal(stand.count('source w0'), 1)
})

test('A server that comes back after the deadline of an idle process claims it anew, and takes another if it is gone', async (t) => {
  await using stand = open()
  const passTime = clockOf(t)
  await stand.ask('small')
  passTime(6_000)
  stand.lose('w0')
  assert.equal(await stand.ask('small'), 'w1')
  assert.equal(stand.count('source w0'), 1)
})

test('No deadline at the warden is later than the time for an answer, renewed or not', async (t) => {
  await using stand = open()
  const passTime = clockOf(t)
  for (let n = 0; n < 30; n++) {
    await stand.ask('small')
    passTime(100)
  }
  assert.ok(stand.deadlines.length > 2)
  for (const deadline of stand.deadlines) assert.ok(deadline <= 5_000, `${deadline}`)
})

/** Returns a function that sets the monotonic clock on. */
function clockOf(t: TestContext): (ms: number) => void {
  const real = performance.now.bind(performance)
  let passed = 0
  // Once only: of two mocks of one method the second is not undone, and keeps each later call of all other tests.
  t.mock.method(performance, 'now', () => real() + passed)
  return (ms) => void (passed += ms)
}

/** A client over a played warden, whose processes answer each source with their name. */
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
    /** Starts stay under way until the returned function is called. */
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
