import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import type { Event } from '../contract/event.ts'
import { createCounters } from './counters.ts'
import { createLogSink } from './log.ts'
import { createMemoryRing } from './memory-ring.ts'
import { nullSink } from './null-sink.ts'
import { EventStream } from './event-stream.ts'

test('An event has a point, an origin, a time, an actor and a trust level', () => {
  const { emitter, events } = open()
  emitter.emit('phase/closed', { phase: 'full' }, { run: 'exec_1', zone: 'b' })
  emitter.emit('tier/lost')
  assert.deepEqual(events[0], {
    format: 1,
    seq: 1,
    at: 1_700_000_000_000,
    run: 'exec_1',
    zone: 'b',
    point: 'phase/closed',
    actor: 'phase',
    trust: 'host',
    fields: { phase: 'full' },
  })
  assert.deepEqual([events[1]!.seq, events[1]!.run, events[1]!.zone], [2, null, 'main'])
})

test('Events of a wall join the stream with a number of this process', () => {
  const { emitter, events } = open()
  emitter.emit('tier/launched')
  emitter.sink({ ...events[0]!, seq: 99, trust: 'wall', at: 5 })
  assert.deepEqual([events[1]!.seq, events[1]!.trust, events[1]!.at], [2, 'wall', 5])
})

test('A sink that throws loses that event alone, and is finally retired', () => {
  let calls = 0
  const bad = (): void => {
    calls += 1
    throw new Error('full')
  }
  const { emitter, events } = open([bad])
  for (let i = 0; i < 150; i += 1) emitter.emit('job/admitted')
  assert.equal(events.length, 150)
  assert.equal(calls, 100)
  assert.deepEqual(emitter.stats(), { emitted: 150, suppressed: 0, failed: 100, retired: 1 })
})

test('A guest that floods is rate-limited alone, and the suppressed events are counted', async () => {
  const { emitter, events, clock } = open([], 10)
  const guest = { run: 'loud', trust: 'guest' } as const
  for (let i = 0; i < 100; i += 1) emitter.emit('capability/denied', {}, guest)
  emitter.emit('capability/denied', {}, { run: 'quiet', trust: 'guest' })
  emitter.emit('capability/denied', {}, { run: 'loud' })
  assert.equal(events.length, 22)
  clock.after(1000, () => emitter.emit('capability/denied', {}, guest))
  await clock.run()
  assert.deepEqual(events.at(-1)!.fields, { suppressed: 80 })
})

test('A guest that floods one point hides none of its other points', () => {
  const { emitter, events } = open([], 10)
  const guest = { run: 'loud', trust: 'guest' } as const
  for (let i = 0; i < 100; i += 1) emitter.emit('capability/denied', {}, guest)
  emitter.emit('limit/hit', {}, guest)
  assert.equal(events.at(-1)!.point, 'limit/hit')
})

test('A sink added to the list later receives later events', () => {
  const clock = new SimulatedClock()
  const sinks: ((event: Event) => void)[] = []
  const emitter = new EventStream({ clock, sinks })
  const received: number[] = []
  emitter.emit('server/started')
  sinks.push(({ seq }) => received.push(seq))
  emitter.emit('server/stopped')
  assert.deepEqual(received, [2])
})

test('A listener receives events until it unsubscribes', () => {
  const { emitter } = open()
  const received: number[] = []
  const unsubscribe = emitter.listen(({ seq }) => received.push(seq))
  emitter.emit('server/started')
  unsubscribe()
  emitter.emit('server/stopped')
  assert.deepEqual(received, [1])
})

test('The ring stores the last events in order and no more', () => {
  const ring = createMemoryRing(3)
  const { emitter } = open([ring.sink, nullSink])
  for (const run of ['a', 'b', 'a', 'b', 'a']) emitter.emit('job/admitted', {}, { run })
  assert.deepEqual(
    ring.after(0).map(({ seq }) => seq),
    [3, 4, 5],
  )
  assert.deepEqual(ring.after(4).length, 1)
  assert.deepEqual(
    ring.of('a').map(({ seq }) => seq),
    [3, 5],
  )
  assert.throws(() => createMemoryRing(0), RangeError)
})

test('The log writes one JSON object a line', () => {
  const lines: string[] = []
  const { emitter } = open([createLogSink({ stream: pushInto(lines), form: 'json' })])
  emitter.emit('output/refused', { why: 'a\nb' })
  assert.equal(lines.length, 1)
  const { point, fields, time } = JSON.parse(lines[0]!)
  assert.deepEqual(
    [point, fields.why, time],
    ['output/refused', 'a\nb', '2023-11-14T22:13:20.000Z'],
  )
})

for (const form of ['human', 'json'] as const)
  test(`The ${form} log escapes control characters of a guest`, () => {
    const lines: string[] = []
    const { emitter } = open([createLogSink({ stream: pushInto(lines), form, color: true })])
    emitter.emit(
      'anomaly/found',
      { '\u001b]0;x\u0007': '\u202e\u009b2J' },
      { trust: 'guest', run: '\u001b[2J' },
    )
    const [line = ''] = lines
    assert.equal(
      line
        .replaceAll('\u001b[31m', '')
        .replaceAll('\u001b[0m', '')
        .trimEnd()
        .match(/[\p{Cc}\u202e]/gu),
      null,
    )
    if (form === 'human') assert.match(line, /anomaly\/found.*\(guest\)\n$/)
    else assert.deepEqual(JSON.parse(line).fields, { '\u001b]0;x\u0007': '\u202e\u009b2J' })
  })

test('The human log rounds measurements', () => {
  const lines: string[] = []
  const { emitter } = open([
    createLogSink({ stream: pushInto(lines), form: 'human', color: false }),
  ])
  emitter.emit('job/ended', { status: 'ok', took: 3.141592653 }, { run: 'exec_1' })
  assert.deepEqual(lines, ['22:13:20.000 job/ended exec_1 status="ok" took=3.142\n'])
})

test('A log of a level has refusals, failures, start and stop, with figures of three decimals', () => {
  const lines: string[] = []
  const sinks = [createLogSink({ stream: pushInto(lines), form: 'human', level: 'info' })]
  const { emitter } = open(sinks)
  emitter.emit('server/started')
  emitter.emit('job/admitted', {}, { run: 'exec_1' })
  for (const status of [200, 401, 404, 429]) emitter.emit('door/answered', { status, took: 1 / 3 })
  emitter.emit('door/refused', { status: 422 })
  emitter.emit('door/refused', { status: 500, detail: 'a\nb' })
  emitter.emit('server/stopped')
  assert.deepEqual(
    lines.map((line) => line.trimEnd().split(' ').slice(1).join(' ')),
    [
      'info  server/started -',
      'warn  door/answered - status=401 took=0.333',
      'warn  door/answered - status=429 took=0.333',
      'error door/refused - status=500 detail="a\\nb"',
      'info  server/stopped -',
    ],
  )
  assert.match(lines[0]!, /^2023-11-14T22:13:20.000Z /)
})

test('A log of a level drops and counts refusals beyond a rate, and has each request if it is an access log', () => {
  const lines: string[] = []
  const log = createLogSink({ stream: pushInto(lines), form: 'json', level: 'warn' })
  const all: string[] = []
  const access = createLogSink({
    stream: pushInto(all),
    form: 'json',
    level: 'error',
    access: true,
  })
  const { emitter } = open([log, access])
  for (let n = 0; n < 700; n += 1) emitter.emit('door/answered', { status: 401, took: 1 / 3 })
  emitter.emit('job/unrecorded')
  assert.deepEqual([lines.length, log.dropped, all.length], [601, 100, 701])
  const last = JSON.parse(lines.at(-1)!)
  assert.deepEqual([last.point, last.level, last.dropped], ['job/unrecorded', 'error', 100])
  assert.equal(JSON.parse(all[0]!).fields.took, 0.333)
})

test('A log whose reader is stalled drops lines and counts them', () => {
  const lines: string[] = []
  const stream = { ...pushInto(lines), writableLength: 2 << 20 }
  const log = createLogSink({ stream, form: 'json' })
  const { emitter } = open([log])
  emitter.emit('job/admitted')
  emitter.emit('job/admitted')
  stream.writableLength = 0
  emitter.emit('job/ended')
  emitter.emit('job/ended')
  assert.equal(log.dropped, 2)
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).dropped),
    [2, undefined],
  )
})

test('Counters equal an independent count, S3-62, and ignore claims of guests', () => {
  const counters = createCounters()
  const { emitter } = open([counters.sink])
  const statuses = ['ok', 'error', 'timeout', 'blocked', 'limit', 'failed', 'refused']
  const expected: Record<string, number> = {}
  for (let i = 0; i < 1000; i += 1) {
    const status = statuses[(i * i) % statuses.length]!
    expected[status] = (expected[status] ?? 0) + 1
    emitter.emit('job/admitted')
    emitter.emit('job/ended', { status, tier: 'isolate' })
  }
  emitter.emit('job/admitted')
  emitter.emit('anomaly/found', { status: 'ok' }, { trust: 'guest' })
  const counts = counters.read()
  assert.deepEqual(counts.byStatus, expected)
  assert.deepEqual(counts.byTier, { isolate: 1000 })
  assert.deepEqual([counts.jobs, counts.running, counts.byTrust.guest], [1001, 1, 1])
})

function open(
  sinks: readonly ((event: Event) => void)[] = [],
  limit?: number,
): { emitter: EventStream; events: Event[]; clock: SimulatedClock } {
  const clock = new SimulatedClock()
  const events: Event[] = []
  const all = [...sinks, (event: Event) => void events.push(event)]
  const emitter = new EventStream({ clock, sinks: all, ...(limit ? { limit } : {}) })
  return { emitter, events, clock }
}

function pushInto(lines: string[]): { write(text: string): void } {
  return { write: (text) => void lines.push(text) }
}
