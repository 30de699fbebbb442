import assert from 'node:assert/strict'
import { test } from 'node:test'
import { metricsIn } from '../../tests/doors/prometheus.ts'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { Counter, Histogram, seriesMax } from './instrument.ts'
import { Meters, gauge } from './meters.ts'
import { processReadings } from './process.ts'
import { prometheusText } from './prometheus.ts'
import { EventStream } from './event-stream.ts'

test('S3-62: after 1,000 mixed jobs the metrics equal an independent count', async () => {
  const { meters, emitter } = open()
  const statuses = ['ok', 'error', 'timeout', 'blocked', 'limit', 'failed', 'refused']
  const expected = new Map<string, number>()
  let seconds = 0
  for (let at = 0; at < 1000; at += 1) {
    const status = statuses[(at * at) % statuses.length]!
    const tier = status === 'blocked' ? null : 'isolate'
    const series = `status="${status}",tier="${tier ?? 'none'}"`
    expected.set(series, (expected.get(series) ?? 0) + 1)
    seconds += at / 1000
    const run = `exec_${at}`
    emitter.emit('job/admitted', {}, { run })
    emitter.emit('threat/analysed', {
      cached: at % 4 === 0,
      patterns: at % 2 ? ['EVAL', 'EVAL'] : [],
    })
    emitter.emit('job/ended', { status, tier, took: at }, { run })
  }
  emitter.emit('job/admitted')
  emitter.emit('job/ended', { status: 'ok', tier: 'isolate' }, { trust: 'guest' })
  const { value, sum } = metricsIn(prometheusText(await meters.read()))
  for (const [series, count] of expected) {
    assert.equal(value(`mayfly_executions_total{${series}}`), count)
    assert.equal(value(`mayfly_execution_duration_seconds_count{${series}}`), count)
  }
  assert.equal(sum('mayfly_executions_total'), 1000)
  assert.equal(sum('mayfly_execution_duration_seconds_sum').toFixed(3), seconds.toFixed(3))
  assert.equal(value('mayfly_admissions_total'), 1001)
  assert.equal(value('mayfly_executions_running'), 1)
  assert.equal(value('mayfly_analyses_total{cache="hit"}'), 250)
  assert.equal(value('mayfly_findings_total{pattern="EVAL"}'), 500)
})

test('Refusals are counted by code, including rate-limited ones', async () => {
  const { meters, emitter } = open()
  emitter.emit('door/refused', { code: 'UNAUTHENTICATED' })
  emitter.emit('door/refused', { code: 'RATE_LIMITED', unspoken: 40 })
  const { sum, value } = metricsIn(prometheusText(await meters.read()))
  assert.equal(sum('mayfly_door_refusals_total'), 42)
  assert.equal(value('mayfly_door_refusals_total{code="unspoken"}'), 40)
})

test('S0-24: bytes that were answered from the cache are counted', async () => {
  const { meters, emitter } = open()
  for (const bytes of [10, 32]) emitter.emit('cache/hit', { bytes })
  const { value } = metricsIn(prometheusText(await meters.read()))
  assert.equal(value('mayfly_cache_saved_bytes_total'), 42)
  assert.equal(value('mayfly_cache_lookups_total{result="hit"}'), 2)
})

test('Unsigned lines are shown until they are signed', async () => {
  const { meters, emitter } = open()
  const unsigned = async (): Promise<number | undefined> =>
    metricsIn(prometheusText(await meters.read())).value('mayfly_record_unsigned')
  emitter.emit('record/unsigned', { lines: 12 })
  assert.equal(await unsigned(), 12)
  emitter.emit('record/checkpoint', { seq: 20, lines: 12 })
  assert.equal(await unsigned(), 0)
})

test('Label cardinality is bounded', () => {
  const counter = new Counter({ name: 'a', description: '', unit: '1' })
  for (let at = 0; at < 10_000; at += 1) counter.add({ word: `w${at}` })
  const { series } = counter.read()
  assert.equal(series.length, seriesMax + 1)
  assert.deepEqual(series.at(-1), { labels: { word: 'other' }, value: 10_000 - seriesMax })
})

test('A histogram counts each value once, on the right side of its bound', () => {
  const histogram = new Histogram({ name: 'a', description: '', unit: 's' }, [1, 2])
  for (const value of [1, 1.5, 2, 3, Number.NaN, -1, undefined]) histogram.record(value)
  assert.deepEqual(histogram.read().series[0]?.histogram, {
    count: 4,
    sum: 7.5,
    bounds: [1, 2],
    counts: [1, 2, 1],
  })
  const { value } = metricsIn(prometheusText([histogram.read()]))
  assert.deepEqual(
    ['1', '2', '+Inf'].map((le) => value(`a_seconds_bucket{le="${le}"}`)),
    [1, 3, 4],
  )
})

test('Label values are escaped: quotes, backslashes and line ends', () => {
  const odd = 'a"b\\c\nd{}'
  const { series } = metricsIn(prometheusText([gauge('x', 'a\nb\\', '1', [[{ l: odd }, 1]])]))
  assert.deepEqual(series[0]?.labels, { l: odd })
})

test('Process metrics have the names of the semantic conventions', () => {
  const { value } = metricsIn(prometheusText(processReadings()))
  assert.ok(value('process_cpu_time_seconds_total{cpu_mode="user"}')! > 0)
  assert.ok(value('process_memory_usage_bytes')! > 2 ** 20)
})

test('An observer that throws does not affect the others', async () => {
  const { meters } = open()
  meters.observe(() => Promise.reject(new Error('lost')))
  meters.observe(() => [gauge('x', '', '1', [[{}, 5]])])
  assert.equal(metricsIn(prometheusText(await meters.read())).value('x'), 5)
})

function open() {
  const meters = new Meters()
  return {
    meters,
    emitter: new EventStream({ clock: new SimulatedClock(), sinks: [meters.sink] }),
  }
}
