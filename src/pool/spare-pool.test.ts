import assert from 'node:assert/strict'
import { availableParallelism } from 'node:os'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../contract/clock.ts'
import { SparePool, type Spare, type SparePoolEvent } from './spare-pool.ts'

/** Time after which a taken spare has been replaced. */
const SOON_MS = 100

/** Spares are numbers; the clock is advanced by hand. */
function stand(options: { least: number; most: number }) {
  let [now, made] = [0, 0]
  let version = 'a'
  let fails = false
  const timers = new Set<{ at: number; ring: () => void }>()
  const clock: Clock = {
    now: () => now,
    date: () => now,
    after(ms, ring) {
      const timer = { at: now + ms, ring }
      timers.add(timer)
      return { cancel: () => void timers.delete(timer) }
    },
  }
  const live = new Set<number>()
  const told: SparePoolEvent[] = []
  const [awaited, urgent]: [number[], number[]] = [[], []]
  let held: Promise<void> | undefined
  const warm = new SparePool<Spare & { readonly id: number }>({
    key: 'test',
    clock,
    ...options,
    async start(isAwaited, isUrgent) {
      if (fails) throw new Error('no more')
      const id = ++made
      if (isAwaited) awaited.push(id)
      if (isUrgent) urgent.push(id)
      live.add(id)
      await held
      return {
        id,
        bytes: 10,
        get alive() {
          return live.has(id)
        },
        end: async () => live.delete(id),
      }
    },
    fingerprint: () => version,
    onEvent: (event) => void told.push(event),
  })
  return {
    warm,
    live,
    told,
    awaited,
    urgent,
    change: (to: string) => (version = to),
    fail: (yes: boolean) => (fails = yes),
    /** Starts stay under way until the returned function is called. */
    hold(): () => void {
      const gate = Promise.withResolvers<void>()
      held = gate.promise
      return gate.resolve
    },
    async pass(ms: number) {
      const until = now + ms
      for (;;) {
        const next = [...timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0]
        if (!next) break
        timers.delete(next)
        now = next.at
        next.ring()
        await settle()
      }
      now = until
      await settle()
    },
  }
}

/** A pool whose starts the test settles one by one, with a stopped clock. */
function slowPool(least: number) {
  const starts: PromiseWithResolvers<Spare>[] = []
  const warm = new SparePool<Spare>({
    key: 'slow',
    clock: { now: () => 0, date: () => 0, after: () => ({ cancel: () => undefined }) },
    least,
    most: 8,
    start() {
      const start = Promise.withResolvers<Spare>()
      starts.push(start)
      return start.promise
    },
  })
  return { warm, starts }
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 10; turns++) await turn()
}

test('Without demand no spare is started, unless `least` is set', async () => {
  const none = stand({ least: 0, most: 3 })
  await none.pass(20_000)
  assert.equal(none.warm.facts.idle, 0)
  const two = stand({ least: 2, most: 3 })
  two.warm.fill()
  await settle()
  assert.equal(two.warm.facts.idle, 2)
})

test('Each miss raises the target by one, up to the maximum, and each spare is handed out once', async () => {
  const { warm, live, pass } = stand({ least: 0, most: 2 })
  const seen = new Set<number>()
  for (let n = 0; n < 6; n++) {
    const { spare, pool } = await warm.take()
    assert.equal(pool, n === 0 ? 'miss' : 'hit')
    assert.ok(!seen.has(spare.id))
    seen.add(spare.id)
    await pass(SOON_MS)
  }
  const burst = await Promise.all([warm.take(), warm.take(), warm.take(), warm.take()])
  assert.equal(new Set(burst.map(({ spare }) => spare.id)).size, 4)
  await pass(SOON_MS)
  assert.deepEqual(
    { ...warm.facts, misses: 0, hits: 0 },
    {
      key: 'test',
      idle: 2,
      starting: 0,
      wanted: 2,
      hits: 0,
      misses: 0,
      bytes: 20,
    },
  )
  assert.ok(live.size <= 12)
})

test('A rare launch takes a spare or starts one, and does not raise the target', async () => {
  const { warm, live, pass } = stand({ least: 0, most: 3 })
  for (let n = 0; n < 4; n++) await warm.take({ isShort: true, isRare: true })
  await pass(SOON_MS)
  assert.deepEqual([warm.facts.idle, warm.facts.wanted, live.size], [0, 0, 4])
  await warm.take()
  await pass(SOON_MS)
  assert.equal((await warm.take({ isShort: true, isRare: true })).pool, 'hit')
  await pass(SOON_MS)
  assert.deepEqual([warm.facts.idle, warm.facts.wanted], [1, 1])
})

test('While a job waits for a start of its own, no refill begins; afterwards refills continue', async () => {
  const { warm, pass, live, hold } = stand({ least: 2, most: 2 })
  const release = hold()
  const taken = Promise.all([warm.take(), warm.take()])
  await settle()
  warm.fill()
  await pass(SOON_MS)
  assert.equal(live.size, 2)
  release()
  await taken
  await pass(SOON_MS)
  assert.equal(warm.facts.idle, 2)
})

test('While jobs wait for a refill in progress, no other refill begins', async () => {
  const { warm, starts } = slowPool(1)
  warm.fill()
  // A third miss would count as pressure.
  const taken = [warm.take(), warm.take()]
  await settle()
  warm.fill()
  assert.equal(starts.length, 1, 'a refill began beside jobs that wait')
  starts[0]!.resolve({ alive: true, bytes: 0, end: () => Promise.resolve() })
  await settle()
  assert.deepEqual(
    [starts.length, warm.facts.starting],
    [2, 0],
    'one starts for a job, none for later',
  )
  for (const start of starts.slice(1))
    start.resolve({ alive: true, bytes: 0, end: () => Promise.resolve() })
  await Promise.all(taken)
  await warm.close()
})

test('Under pressure the reserve is started at once, also during an ordinary refill', async () => {
  const { warm, starts } = slowPool(8)
  const give = (at: number) =>
    starts[at]!.resolve({ alive: true, bytes: 0, end: () => Promise.resolve() })
  warm.fill()
  assert.equal(starts.length, 2, 'two at once while less than half is there')
  const taken = [warm.take(), warm.take(), warm.take()]
  await settle()
  warm.fill()
  assert.ok(
    starts.length >= 5,
    `${starts.length} starts: two of the reserve beside those in progress`,
  )
  for (const at of starts.keys()) give(at)
  await Promise.all(taken)
  await warm.close()
})

test('A refill starts after a delay, so as not to compete with the job', async () => {
  const { warm, pass, live } = stand({ least: 2, most: 2 })
  warm.fill()
  await settle()
  assert.equal(live.size, 2)
  await warm.take()
  await pass(10)
  assert.equal(live.size, 2, 'it was replaced at once')
  await warm.take()
  await pass(15)
  assert.equal(live.size, 4, 'taking another put it off')
})

test('The start callback receives whether a job waits for it', async () => {
  const { warm, awaited, pass } = stand({ least: 0, most: 2 })
  const { spare } = await warm.take()
  await pass(SOON_MS)
  const kept = await warm.take()
  assert.deepEqual([awaited, kept.pool], [[spare.id], 'hit'])
})

test('Idle spares are ended one per minute, down to the minimum', async () => {
  const { warm, live, pass } = stand({ least: 0, most: 2 })
  await Promise.all([warm.take(), warm.take()])
  await pass(SOON_MS)
  const taken = live.size - warm.facts.idle
  assert.equal(warm.facts.idle, 2)
  await pass(70_000)
  assert.equal(warm.facts.idle, 1)
  await pass(70_000)
  assert.equal(warm.facts.idle, 0)
  assert.equal(live.size, taken)
})

test('Stale spares are ended and never handed out', async () => {
  const { warm, change, told } = stand({ least: 2, most: 2 })
  warm.fill()
  await settle()
  change('b')
  const { spare, pool } = await warm.take()
  assert.equal(pool, 'miss')
  assert.ok(spare.id > 2)
  assert.ok(told.some((event) => event.what === 'drained' && event.because === 'changed'))
})

test('Under memory pressure spares are ended, as many as needed', async () => {
  const { warm } = stand({ least: 3, most: 3 })
  warm.fill()
  await settle()
  assert.equal(warm.evict(15), 20)
  assert.equal(warm.facts.idle, 1)
})

test('A spare that died is not handed out', async () => {
  const { warm, live } = stand({ least: 2, most: 2 })
  warm.fill()
  await settle()
  live.delete(1)
  assert.equal((await warm.take()).spare.id, 2)
})

test('A failed start is reported and retried later', async () => {
  const { warm, fail, pass, told } = stand({ least: 1, most: 1 })
  fail(true)
  warm.fill()
  await settle()
  assert.equal(told[0]?.what, 'failed')
  await assert.rejects(warm.take(), /no more/)
  fail(false)
  await pass(2_000)
  assert.equal(warm.facts.idle, 1)
})

test('Closing ends all idle and starting spares', async () => {
  const { warm, live } = stand({ least: 2, most: 2 })
  warm.fill()
  await warm.close()
  await settle()
  assert.equal(live.size, 0)
})

test('Two spares start at once below half of the target, else one, and a waiting job takes the first', async () => {
  const { warm, starts } = slowPool(4)
  const make = async (index: number) => {
    starts[index]!.resolve({ alive: true, bytes: index, end: () => Promise.resolve() })
    await settle()
  }
  const counts = () => [warm.facts.idle, warm.facts.starting]
  warm.fill()
  assert.deepEqual([...counts(), starts.length], [0, 2, 2])
  const taking = warm.take()
  await make(1)
  assert.equal((await taking).spare.bytes, 1)
  await make(0)
  assert.deepEqual(counts(), [1, 2])
  await make(2)
  assert.deepEqual([...counts(), starts.length], [2, 2, 5])
  await make(3)
  await make(4)
  assert.deepEqual(counts(), [4, 1], 'one miss keeps one more')
  const closing = warm.close()
  await make(5)
  await closing
})

const long = { isShort: false }
const short = { isShort: true }

test('After several misses the last spare is reserved for short jobs and refilled first; later any job may take it', async () => {
  const { warm, urgent, hold, pass } = stand({ least: 1, most: 1 })
  warm.fill()
  await pass(SOON_MS)
  const resume = hold()
  const jobs = Array.from({ length: 4 }, () => warm.take(long))
  await settle()
  assert.deepEqual(urgent, [], 'a job that is not short is no hurry')
  await pass(SOON_MS)
  // After the first spare and the starts of the other three jobs, of which a machine with one core queues the last.
  const reserve = 2 + Math.min(3, 2 * availableParallelism())
  assert.deepEqual(urgent, [reserve], 'the one that a short job would find')
  resume()
  await Promise.all(jobs)
  await pass(SOON_MS)
  assert.equal(warm.facts.idle, 1)
  assert.equal((await warm.take(long)).pool, 'miss')
  const { pool, spare } = await warm.take(short)
  assert.deepEqual([pool, spare.id], ['hit', reserve])
  await pass(20_000)
  assert.equal((await warm.take(long)).pool, 'hit')
})

test('Jobs that are not short start few walls at once, and a short one starts concurrently', async () => {
  const { warm, live, urgent, hold } = stand({ least: 0, most: 1 })
  const resume = hold()
  const most = 2 * availableParallelism()
  const waiting = Array.from({ length: 3 * most }, () => warm.take(long))
  await settle()
  assert.equal(live.size, most)
  const beside = warm.take(short)
  await settle()
  assert.equal(live.size, most + 1)
  assert.deepEqual(urgent, [most + 1])
  resume()
  const ids = (await Promise.all([...waiting, beside])).map(({ spare }) => spare.id)
  assert.equal(new Set(ids).size, 3 * most + 1, 'each has one of its own')
})

test('A start that fails releases its slot to the next job', async () => {
  const { warm, fail } = stand({ least: 0, most: 1 })
  fail(true)
  const failed = await Promise.allSettled(
    Array.from({ length: 3 * 2 * availableParallelism() }, () => warm.take(long)),
  )
  assert.ok(failed.every(({ status }) => status === 'rejected'))
  fail(false)
  assert.equal((await warm.take(long)).pool, 'miss')
})

test('S0-5: a pool keeps the requested number of spares: the first jobs take one each, the next misses, and the pool refills', async () => {
  const { warm, live, told, pass } = stand({ least: 0, most: 1 })
  warm.keep(3)
  await pass(SOON_MS)
  assert.equal(live.size, 3)
  const pools: string[] = []
  for (let n = 0; n < 4; n++) pools.push((await warm.take()).pool)
  assert.deepEqual(pools, ['hit', 'hit', 'hit', 'miss'])
  await pass(SOON_MS)
  assert.equal(warm.facts.idle, 3)
  // Ten idle minutes change nothing.
  await pass(600_000)
  assert.equal(warm.facts.idle, 3)
  warm.keep(1)
  await pass(SOON_MS)
  assert.deepEqual([warm.facts.idle, warm.facts.bytes], [1, 10])
  assert.deepEqual(told.at(-1), { what: 'drained', ended: 2, because: 'changed' })
  await warm.close()
})
