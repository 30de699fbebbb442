import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { SimulatedClock } from '../../../tests/sim/simulated-clock.ts'
import type { Clock } from '../../contract/clock.ts'
import type { MayflyError } from '../../contract/error.ts'
import { openQuotaStore } from './quota-store.ts'
import type { QuotaCeilings } from './quota-bucket.ts'
import { OpenQuotas, type JobQuotas, type Quotas, type VisitorCeilings } from './quota.ts'
import { ownHooks } from '../../../tests/fixtures/own-hooks.ts'

let folder: string
let clock: SimulatedClock

const { beforeEach, afterEach } = ownHooks(import.meta.filename)
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mayfly-quota-'))
  clock = new SimulatedClock()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const free = { cpuMs: 0, bytesOut: 0 }

function open(
  ceilings: Readonly<Record<string, QuotaCeilings>>,
  visitors?: VisitorCeilings,
): Quotas {
  const store = openQuotaStore(join(folder, 'quota.db'), clock.date())
  const own = visitors && { visitors: () => visitors }
  return new OpenQuotas({ ceilings: (tenant) => ceilings[tenant] ?? {}, store, clock, ...own })
}

function pass(ms: number): Promise<void> {
  return clock.run(clock.now() + ms)
}

/** Begins and ends one job; returns 0, or the exceeded limit and its retry time. */
function tried(quotas: JobQuotas, tenant: string, spent = free, bytesIn = 0): [string, number] | 0 {
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

test('A wall clock that is set forward between two jobs refills nothing', async () => {
  const ceilings = { acme: { cpu_seconds_per_minute: 10 }, page: {} }
  let setForward = 0
  const played: Clock = {
    now: () => clock.now(),
    date: () => clock.date() + setForward,
    after: (ms, then) => clock.after(ms, then),
  }
  const start = () =>
    new OpenQuotas({
      ceilings: (tenant) => ceilings[tenant as keyof typeof ceilings] ?? {},
      visitors: () => ({ token: {}, address: { cpu_seconds_per_minute: 10 } }),
      store: openQuotaStore(join(folder, 'quota.db'), played.date()),
      clock: played,
    })
  const quotas = start()
  const visitor = quotas.ofVisitor('page', { token: 't', address: 'a' })
  const long = Array.from({ length: 3 }, () => [quotas.begin('acme', 0), visitor.begin('page', 0)])
  const hour = { cpuMs: 600_000, bytesOut: 0 }
  assert.equal(tried(quotas, 'acme', hour), 0)
  assert.equal(visited(quotas, 't', 'a', hour.cpuMs), 0)
  await pass(1_000)
  for (const jobs of long) {
    setForward += 61 * 60_000
    for (const one of jobs) one.end({ cpuMs: 1, bytesOut: 0 })
    await pass(1_000)
    const [, wait] = tried(quotas, 'acme') || ['', 0]
    assert.ok(wait > 58 * 60_000, `it waits ${wait} ms`)
    assert.notEqual(visited(quotas, 't', 'a'), 0)
  }
  quotas.close()
  const again = start()
  const [, wait] = tried(again, 'acme') || ['', 0]
  assert.ok(wait > 58 * 60_000, `after a restart it waits ${wait} ms`)
  await pass(1_000)
  again.close()
})

test('A wall clock that is set back takes away no refill', async () => {
  let setForward = 0
  const played: Clock = {
    now: () => clock.now(),
    date: () => clock.date() + setForward,
    after: (ms, then) => clock.after(ms, then),
  }
  const quotas = new OpenQuotas({
    ceilings: () => ({ cpu_seconds_per_minute: 10 }),
    store: openQuotaStore(join(folder, 'quota.db'), played.date()),
    clock: played,
  })
  assert.equal(tried(quotas, 'acme', { cpuMs: 300_000, bytesOut: 0 }), 0)
  const [, wait] = tried(quotas, 'acme') || ['', 0]
  assert.ok(wait > 28 * 60_000, `it waits ${wait} ms`)
  await pass(wait + 2_000)
  setForward = -60 * 60_000
  assert.equal(tried(quotas, 'acme', { cpuMs: 1, bytesOut: 0 }), 0)
  await pass(1_000)
  assert.equal(tried(quotas, 'acme'), 0)
  await pass(1_000)
  quotas.close()
})

test('Time between two servers refills a debt once, by the wall clock', async () => {
  const ceilings = { acme: { cpu_seconds_per_minute: 10 } }
  const before = open(ceilings)
  assert.equal(tried(before, 'acme', { cpuMs: 70_000, bytesOut: 0 }), 0)
  before.close()
  await pass(5 * 60_000)
  const after = open(ceilings)
  const [, wait] = tried(after, 'acme') || ['', 0]
  await pass(wait)
  const job = after.begin('acme', 0)
  job.end({ cpuMs: 1, bytesOut: 0 })
  await pass(1_000)
  const [, again] = tried(after, 'acme') || ['', 0]
  assert.deepEqual([wait, again], [60_006, 0])
  after.close()
})

test('A job that ends after the server closed its quotas is charged all the same', () => {
  const ceilings = { acme: { cpu_seconds_per_minute: 10 }, other: { cpu_seconds_per_minute: 10 } }
  const quotas = open(ceilings)
  const jobs = [quotas.begin('acme', 0), quotas.begin('other', 0)]
  quotas.close()
  jobs[0]!.account?.charge(20_000)
  for (const [index, cpuMs] of [40_000, 15_000].entries()) jobs[index]!.end({ cpuMs, bytesOut: 0 })
  const after = open(ceilings)
  assert.deepEqual(tried(after, 'acme'), ['cpu_seconds_per_minute', 300_006])
  assert.deepEqual(tried(after, 'other'), ['cpu_seconds_per_minute', 30_006])
  after.close()
})

test('An account charges the quotas of its job at once, and a visitor is named by its address', () => {
  const quotas = open({ acme: { cpu_seconds_per_minute: 10 } }, ofVisitors)
  const { account, end } = quotas.begin('acme', 0)
  account!.charge(11_000)
  assert.deepEqual(tried(quotas, 'acme'), ['cpu_seconds_per_minute', 6_006])
  end(free)
  assert.deepEqual(tried(quotas, 'acme'), ['cpu_seconds_per_minute', 6_006])
  const senderOf = (token: string, address: string) => {
    const job = quotas.ofVisitor('page', { token, address }).begin('page', 0)
    job.end(free)
    return job.account?.sender
  }
  assert.equal(account!.sender, undefined)
  assert.equal(senderOf('one', 'a'), senderOf('two', 'a'))
  assert.notEqual(senderOf('one', 'a'), senderOf('one', 'b'))
  quotas.close()
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

test('A ceiling lowered at run time applies at once', () => {
  const ceilings: Record<string, QuotaCeilings> = { acme: { runs_per_minute: 100 } }
  const quotas = open(ceilings)
  assert.equal(tried(quotas, 'acme'), 0)
  ceilings['acme'] = { runs_per_minute: 2 }
  assert.deepEqual([tried(quotas, 'acme'), tried(quotas, 'acme')], [0, 0])
  assert.notEqual(tried(quotas, 'acme'), 0)
  quotas.close()
})

test('Bytes of transferred files count towards the bytes of the minute, and use no slot or job', () => {
  const quotas = open({ a: { bytes_per_minute: 100, runs_per_minute: 1, concurrency: 1 } })
  quotas.transfer('a', 60)
  quotas.transfer('a', 60)
  assert.throws(() => quotas.transfer('a', 0), /"bytes_per_minute" is used up/)
  assert.match(JSON.stringify(tried(quotas, 'a')), /bytes_per_minute/)
  quotas.transfer('b', 10 ** 9)
  quotas.close()
})

/** Begins and ends one job of a visitor; returns 0, or the exceeded limit and whose it was. */
function visited(
  quotas: Quotas,
  token: string,
  address: string,
  cpuMs = 0,
): 0 | readonly [limit: string, of: string] {
  try {
    quotas.ofVisitor('page', { token, address }).begin('page', 0).end({ cpuMs, bytesOut: 0 })
    return 0
  } catch (thrown) {
    const { limit, of = 'all' } = (thrown as MayflyError).details as { limit: string; of?: string }
    return [limit, of]
  }
}

const ofVisitors = {
  token: { cpu_seconds_per_minute: 10 },
  address: { concurrency: 2, runs_per_minute: 30, cpu_seconds_per_minute: 20 },
}

test('S0-12: a token has its own quota, also if several addresses share it, and other tokens are served', async () => {
  const quotas = open({}, ofVisitors)
  assert.equal(visited(quotas, 'shared', 'a', 6_000), 0)
  assert.equal(visited(quotas, 'shared', 'b', 6_000), 0)
  for (const address of ['a', 'b', 'c'])
    assert.deepEqual(visited(quotas, 'shared', address), ['cpu_seconds_per_minute', 'page'])
  for (const address of ['a', 'b', 'c']) assert.equal(visited(quotas, 'other', address), 0)
  await pass(15_000)
  assert.equal(visited(quotas, 'shared', 'a'), 0)
  quotas.close()
})

test('S0-12: an address has a quota over all its tokens, which survives a restart, and another address is served', async () => {
  const before = open({}, ofVisitors)
  for (let n = 0; n < 3; n++) assert.equal(visited(before, `t${n}`, 'evil', 9_000), 0)
  assert.deepEqual(visited(before, 't9', 'evil'), ['cpu_seconds_per_minute', 'address'])
  assert.equal(visited(before, 't9', 'good'), 0)
  before.close()
  const after = open({}, ofVisitors)
  assert.deepEqual(visited(after, 'new', 'evil'), ['cpu_seconds_per_minute', 'address'])
  assert.equal(visited(after, 'new', 'good'), 0)
  after.close()
})

test('S0-12: concurrent jobs and jobs a minute of an address are counted over its tokens, and execs use the slot of their session', () => {
  const quotas = open({}, ofVisitors)
  const begin = (token: string, isInSession = false) =>
    quotas.ofVisitor('page', { token, address: 'a' }).begin('page', 0, isInSession)
  const [first] = [begin('one'), begin('two')]
  begin('two', true).end(free)
  assert.deepEqual(visited(quotas, 'three', 'a'), ['concurrency', 'address'])
  assert.equal(visited(quotas, 'three', 'b'), 0)
  first.end(free)
  for (let n = 0; n < 27; n++) assert.equal(visited(quotas, `t${n}`, 'a'), 0)
  assert.deepEqual(visited(quotas, 'last', 'a'), ['runs_per_minute', 'address'])
  quotas.close()
})

test('S0-12: an address uses at most half of the quota of all visitors, also by a long job or several at once', async () => {
  const generous = { token: {}, address: { cpu_seconds_per_minute: 1000 } }
  const quotas = open({ page: { cpu_seconds_per_minute: 60 } }, generous)
  const evil = Array.from({ length: 4 }, (_, n) =>
    quotas.ofVisitor('page', { token: `t${n}`, address: 'evil' }).begin('page', 0),
  )
  for (const one of evil) one.end({ cpuMs: 225_000, bytesOut: 0 })
  assert.deepEqual(visited(quotas, 'new', 'evil'), ['cpu_seconds_per_minute', 'address'])
  // An honest address spends what is left at once, then as much as comes in beside the debt: half.
  let honest = 0
  for (let second = 0; second < 600; second++) {
    if (visited(quotas, 'good', 'good', 1_000) === 0) honest++
    assert.deepEqual(visited(quotas, 'new', 'evil'), ['cpu_seconds_per_minute', 'address'])
    await pass(1_000)
  }
  assert.ok(honest >= 300 && honest <= 345, `${honest} s of ten minutes were for others`)
  quotas.close()
})

test('S0-12: use of addresses beyond their level is charged to all visitors, so that many addresses are bounded together', async () => {
  const quotas = open({ page: { cpu_seconds_per_minute: 60 } }, { token: {}, address: {} })
  let spentMs = 0
  for (let second = 0; second < 3_600; second++) {
    for (let n = 0; n < 10; n++)
      if (visited(quotas, 't', `evil ${n}`, 100_000) === 0) spentMs += 100_000
    await pass(1_000)
  }
  // Beyond the refill: debts of the last job of each.
  const most = 3_600_000 + 60_000 + 10 * 100_000
  assert.ok(spentMs <= most, `${spentMs} ms of at most ${most}`)
  quotas.close()
})

test('S0-12: addresses of visitors leave the store when their quotas are full again, and debts stay', async () => {
  const quotas = open({}, ofVisitors)
  assert.equal(visited(quotas, 't', 'brief', 1_000), 0)
  assert.equal(visited(quotas, 't2', 'deep', 100_000), 0)
  await pass(61_000)
  assert.equal(visited(quotas, 't3', 'other'), 0)
  await pass(1_001)
  const db = new DatabaseSync(join(folder, 'quota.db'))
  const rows = db.prepare('SELECT DISTINCT tenant FROM buckets ORDER BY tenant').all()
  assert.deepEqual(
    rows.map(({ tenant }) => tenant),
    ['page#address:deep', 'page#address:other'],
  )
  db.close()
  quotas.close()
})
