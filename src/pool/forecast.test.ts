import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../contract/clock.ts'
import { newJob } from '../job.ts'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import type { Status } from '../contract/exit-codes.ts'
import { Forecast } from './forecast.ts'

const jobOf = (tenant: string) =>
  newJob({ code: '1' }, { tenant, principal: 'test', origin: 'library' }, systemClock)

test('Code is expected to be short after a short run, for its own tenant, until a run is long', () => {
  const forecast = new Forecast(new SimulatedClock())
  const run = (tenant: string, code: string, cpuTime: number, status: Status = 'ok') => {
    const job = jobOf(tenant)
    forecast.follow(job, code)
    const isShort = forecast.isShort(job)
    forecast.note(job, { status, metrics: { cpuTime } })
    return isShort
  }
  assert.equal(run('a', 'code', 20), false, 'unknown code')
  assert.equal(run('a', 'code', 0), true, 'a run that never began says nothing')
  assert.equal(run('a', 'other', 20), false)
  assert.equal(run('b', 'code', 20), false)
  assert.equal(run('a', 'code', 2_000), true)
  assert.equal(run('a', 'code', 20), false, 'it was long')
})

test('Code that was ended by force is not short, even if it ended soon', () => {
  for (const status of ['limit', 'timeout', 'terminated', 'failed'] as const)
    assert.equal(isShortAfter(status), false, status)
  for (const status of ['ok', 'error', 'refused'] as const)
    assert.equal(isShortAfter(status), true, status)
})

function isShortAfter(status: Status): boolean {
  const forecast = new Forecast(new SimulatedClock())
  const [job, next] = [jobOf('a'), jobOf('a')]
  for (const one of [job, next]) forecast.follow(one, 'code')
  forecast.note(job, { status, metrics: { cpuTime: 20 } })
  return forecast.isShort(next)
}

test('A forecast is forgotten after an hour', async () => {
  const clock = new SimulatedClock()
  const forecast = new Forecast(clock)
  const [job, next] = [jobOf('a'), jobOf('a')]
  forecast.follow(job, 'code')
  forecast.follow(next, 'code')
  forecast.note(job, { status: 'ok', metrics: { cpuTime: 20 } })
  assert.equal(forecast.isShort(next), true)
  await clock.run(3_600_001)
  assert.equal(forecast.isShort(next), false)
})

test('Attack: a tenant whose code is short or long depending on its input gets three wrong forecasts, and none for a while', async () => {
  const clock = new SimulatedClock()
  const forecast = new Forecast(clock)
  /** Runs some jobs at once; returns the number that were expected to be short. */
  const run = (tenant: string, cpuTime: number, count = 1) => {
    const jobs = Array.from({ length: count }, () => jobOf(tenant))
    for (const job of jobs) forecast.follow(job, 'code')
    const short = jobs.filter((job) => forecast.isShort(job)).length
    for (const job of jobs) forecast.note(job, { status: 'ok', metrics: { cpuTime } })
    return short
  }
  run('a', 20)
  run('b', 20)
  const expected = Array.from({ length: 20 }, () => [run('a', 60_000), run('a', 20)][0])
  assert.deepEqual(expected.slice(0, 4), [1, 1, 1, 0])
  assert.ok(expected.slice(3).every((count) => count === 0))
  assert.equal(run('b', 20), 1, 'another tenant')
  await clock.run(60_000)
  assert.equal(run('a', 20), 1)
  assert.equal(run('a', 60_000, 4), 4)
  run('a', 20)
  assert.equal(run('a', 60_000, 4), 0, 'each of those at once counted')
})
