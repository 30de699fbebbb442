import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, test } from 'node:test'
import { SimulatedClock } from '../../../tests/sim/simulated-clock.ts'
import type { MayflyError } from '../../contract/error.ts'
import { openQuotaStore } from './quota-store.ts'
import { createQuotas, type QuotaCeilings, type Quotas } from './quota.ts'

let folder: string
let clock: SimulatedClock

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-quota-'))
  clock = new SimulatedClock()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const free = { cpuMs: 0, bytesOut: 0 }

function open(ceilings: Readonly<Record<string, QuotaCeilings>>): Quotas {
  const store = openQuotaStore(join(folder, 'quota.db'), clock.date())
  return createQuotas({ ceilings: (tenant) => ceilings[tenant] ?? {}, store, clock })
}

function pass(ms: number): Promise<void> {
  return clock.run(clock.now() + ms)
}

/** Begins and ends one job; returns 0, or the exceeded limit and its retry time. */
function tried(quotas: Quotas, tenant: string, spent = free, bytesIn = 0): [string, number] | 0 {
  try {
    quotas.begin(tenant, bytesIn).end(spent)
    return 0
  } catch (thrown) {
    const { code, details, retryAfterMs } = thrown as MayflyError
    assert.equal(code, 'RATE_LIMITED')
    return [(details as { limit: string }).limit, retryAfterMs ?? -1]
  }
}

test("S0-12: a third job beyond two concurrent ones is refused with a retry time, and another tenant's is admitted", () => {
  const quotas = open({ acme: { concurrency: 2 }, other: { concurrency: 1 } })
  const places = [quotas.begin('acme', 0), quotas.begin('acme', 0)]
  assert.deepEqual(tried(quotas, 'acme'), ['concurrency', 1000])
  assert.equal(tried(quotas, 'other'), 0)
  places[0]!.end(free)
  places[0]!.end(free)
  const third = quotas.begin('acme', 0)
  assert.deepEqual(tried(quotas, 'acme'), ['concurrency', 1000])
  third.end(free)
  quotas.close()
})

test("Jobs a minute refill evenly, up to one minute's worth", async () => {
  const quotas = open({ acme: { runs_per_minute: 6 } })
  for (let i = 0; i < 6; i++) assert.equal(tried(quotas, 'acme'), 0)
  assert.deepEqual(tried(quotas, 'acme'), ['runs_per_minute', 10_000])
  await pass(10_000)
  assert.equal(tried(quotas, 'acme'), 0)
  assert.deepEqual(tried(quotas, 'acme'), ['runs_per_minute', 10_000])
  await pass(1_000_000)
  for (let i = 0; i < 6; i++) assert.equal(tried(quotas, 'acme'), 0)
  assert.notEqual(tried(quotas, 'acme'), 0)
  quotas.close()
})

test('S0-12: a job that overspends puts its bucket into debt, and a restart keeps the debt', async () => {
  const ceilings = { acme: { cpu_seconds_per_minute: 10 }, other: { cpu_seconds_per_minute: 10 } }
  const before = open(ceilings)
  assert.equal(tried(before, 'acme', { cpuMs: 15_000, bytesOut: 0 }), 0)
  const [limit, wait] = tried(before, 'acme') || ['', 0]
  assert.deepEqual([limit, wait], ['cpu_seconds_per_minute', 30_006])
  before.close()
  const after = open(ceilings)
  assert.deepEqual(tried(after, 'acme'), [limit, wait])
  assert.equal(tried(after, 'other'), 0)
  await pass(wait)
  assert.equal(tried(after, 'acme'), 0)
  after.close()
})

test('S0-12: no cost puts a bucket deeper into debt than an hour, and a damaged store does not either', async () => {
  const ceilings = { acme: { cpu_seconds_per_minute: 10 } }
  const before = open(ceilings)
  assert.equal(tried(before, 'acme', { cpuMs: 1e300, bytesOut: 0 }), 0)
  const [limit, wait] = tried(before, 'acme') || ['', 0]
  assert.equal(limit, 'cpu_seconds_per_minute')
  assert.ok(wait <= 61 * 60_000, `a tenant waits ${wait} ms`)
  before.close()
  for (const level of [-1e300, -Infinity, 1e300]) {
    const db = new DatabaseSync(join(folder, 'quota.db'))
    db.prepare('UPDATE buckets SET level = ?, at = ?').run(level, Number.MAX_SAFE_INTEGER)
    db.close()
    const after = open(ceilings)
    const [, again] = tried(after, 'acme', { cpuMs: 20_000, bytesOut: 0 }) || ['', 0]
    assert.ok(again <= 61 * 60_000, `at level ${level} a tenant waits ${again} ms`)
    await pass(61 * 60_000)
    assert.equal(tried(after, 'acme'), 0)
    after.close()
  }
})

test('Spending of one server reaches another within a second, and one that starts after a crash', async () => {
  const ceilings = { acme: { runs_per_minute: 10 } }
  const [crashed, beside] = [open(ceilings), open(ceilings)]
  for (let i = 0; i < 6; i++) assert.equal(tried(crashed, 'acme'), 0)
  await pass(1_000)
  const started = open(ceilings)
  for (let i = 0; i < 4; i++) assert.equal(tried(started, 'acme'), 0)
  assert.notEqual(tried(started, 'acme'), 0)
  assert.equal(tried(beside, 'acme'), 0)
  await pass(1_001)
  assert.notEqual(tried(beside, 'acme'), 0)
  for (const one of [crashed, beside, started]) one.close()
})

test('Bytes of request and answer both count', () => {
  const quotas = open({ acme: { bytes_per_minute: 60_000 } })
  assert.equal(tried(quotas, 'acme', { cpuMs: 0, bytesOut: 30_000 }, 31_000), 0)
  assert.deepEqual(tried(quotas, 'acme'), ['bytes_per_minute', 1_001])
  quotas.close()
})

test('RateLimit headers describe the tightest limit, and are absent without one', () => {
  const quotas = open({ acme: { runs_per_minute: 10, bytes_per_minute: 1000 } })
  assert.equal(tried(quotas, 'acme', free, 50), 0)
  assert.deepEqual(quotas.headers('acme'), {
    'ratelimit-limit': '10',
    'ratelimit-remaining': '9',
    'ratelimit-reset': '6',
    'ratelimit-policy': '10;w=60;comment="runs_per_minute", 1000;w=60;comment="bytes_per_minute"',
  })
  assert.deepEqual(quotas.headers('nobody'), {})
  quotas.close()
})

test('A ceiling lowered at run time holds at once', () => {
  const ceilings: Record<string, QuotaCeilings> = { acme: { runs_per_minute: 100 } }
  const quotas = open(ceilings)
  assert.equal(tried(quotas, 'acme'), 0)
  ceilings['acme'] = { runs_per_minute: 2 }
  assert.deepEqual([tried(quotas, 'acme'), tried(quotas, 'acme')], [0, 0])
  assert.notEqual(tried(quotas, 'acme'), 0)
  quotas.close()
})

test('Bytes of files move within the bytes of the minute, and take no place or job', () => {
  const quotas = open({ a: { bytes_per_minute: 100, runs_per_minute: 1, concurrency: 1 } })
  quotas.transfer('a', 60)
  quotas.transfer('a', 60)
  assert.throws(() => quotas.transfer('a', 0), /"bytes_per_minute" is used up/)
  assert.match(JSON.stringify(tried(quotas, 'a')), /bytes_per_minute/)
  quotas.transfer('b', 10 ** 9)
  quotas.close()
})
