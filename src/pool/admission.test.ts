import assert, { AssertionError } from 'node:assert/strict'
import { suite, test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import { assertCounted } from './admission-counts.ts'
import { Admitter, type AdmissionSlot } from './admission.ts'

const budget = { memory: 800, runnable: 4, queueMax: 5, waitMsMax: 1000 }
const { signal } = new AbortController()

function stand() {
  const clock = new SimulatedClock()
  const admitter = new Admitter(budget, clock)
  const asked: string[] = []
  const enter = (tenant: string, memory = 100) => {
    const place = admitter.admit(tenant, memory, signal)
    place.then(
      () => asked.push(tenant),
      (error: { code?: string }) => asked.push(`${tenant} ${error.code}`),
    )
    return place
  }
  return { clock, admitter, asked, enter }
}

const settled = () => new Promise((resolve) => void setImmediate(resolve))

test('A tenant never holds every slot, so a second one finds a free slot', async () => {
  const { admitter, asked, enter } = stand()
  for (let n = 0; n < 5; n++) void enter('flood').catch(() => undefined)
  await settled()
  assert.deepEqual(asked, ['flood', 'flood', 'flood'])
  await enter('quiet')
  assert.equal(admitter.running, 4)
  assert.equal(admitter.waiting, 2)
})

test('Free slots go to tenants round-robin', async () => {
  const { asked, enter } = stand()
  const held: AdmissionSlot[] = [
    await enter('a'),
    await enter('a'),
    await enter('b'),
    await enter('b'),
  ]
  void enter('a')
  void enter('a')
  void enter('b')
  await settled()
  asked.length = 0
  for (const place of held) {
    place.release()
    await settled()
  }
  assert.deepEqual(asked, ['a', 'b', 'a'])
})

test('A job of several walls takes and releases as many slots', async () => {
  const { admitter, asked } = stand()
  const enter = (tenant: string, walls: number) => {
    const place = admitter.admit(tenant, 100, signal, { walls })
    void place.then(() => asked.push(tenant))
    return place
  }
  const three = await enter('a', 3)
  assert.equal(admitter.running, 3)
  void enter('b', 2)
  await settled()
  assert.equal(admitter.waiting, 1)
  three.release()
  await settled()
  assert.deepEqual([asked, admitter.running], [['a', 'b'], 2])
  const more = enter('c', 100)
  await settled()
  assert.equal(admitter.waiting, 1, 'one of more walls than there are waits, and is not refused')
  void more.catch(() => undefined)
})

test('A job beyond the free memory waits, and one beyond the limit is refused at once', async () => {
  const { admitter, enter } = stand()
  const large = [await enter('a', 500), await enter('b', 200)]
  const waiting = enter('c', 200)
  await settled()
  assert.equal(admitter.waiting, 1)
  for (const one of large) one.release()
  await waiting
  await assert.rejects(enter('a', 900), { code: 'UNAVAILABLE' })
})

test('A tenant never holds all of the memory or queue', async () => {
  const { admitter, enter } = stand()
  await assert.rejects(enter('a', 601), { code: 'UNAVAILABLE' })
  await enter('a', 600)
  void enter('a', 100).catch(() => undefined)
  await enter('b', 200)
  assert.equal(admitter.waiting, 1)
  for (let n = 0; n < 2; n++) void enter('a').catch(() => undefined)
  await assert.rejects(enter('a'), { code: 'OVERLOADED' }, 'three quarters of five')
  for (const tenant of ['c', 'd', 'e', 'f']) void enter(tenant).catch(() => undefined)
  await settled()
  assert.equal(admitter.waiting, 7, 'whoever has none in the queue finds a place')
  await assert.rejects(enter('g'), { code: 'OVERLOADED' })
})

test('A session at the share of its tenant is refused at once, where a job waits', async () => {
  const { admitter, enter } = stand()
  const open = () => admitter.admit('a', 100, signal, { isSession: true })
  for (let n = 0; n < 2; n++) await open()
  const large = await admitter.admit('a', 400, signal, { isSession: true })
  await assert.rejects(open(), { code: 'RATE_LIMITED', retryAfterMs: 1000 })
  void enter('a')
  await settled()
  assert.equal(admitter.waiting, 1)
  large.release()
  await settled()
  assert.deepEqual([admitter.waiting, admitter.running], [0, 3])
})

test('A full queue and a timeout in it are refused with a retry time', async () => {
  const { clock, asked, enter } = stand()
  for (let n = 0; n < 8; n++) void enter('flood').catch(() => undefined)
  await assert.rejects(enter('flood'), { code: 'OVERLOADED', retryAfterMs: 1000 })
  await clock.run()
  assert.equal(asked.filter((one) => one === 'flood OVERLOADED').length, 6)
})

test('Releasing a slot is idempotent', async () => {
  const { admitter, enter } = stand()
  const place = await enter('a')
  await enter('a')
  place.release()
  place.release()
  assert.equal(admitter.running, 1)
})

test('A cancelled job leaves the queue', async () => {
  const { admitter, enter } = stand()
  for (let n = 0; n < 3; n++) await enter('a')
  const cancel = new AbortController()
  const waiting = admitter.admit('a', 100, cancel.signal)
  cancel.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
  assert.equal(admitter.waiting, 0)
})

test('A job measured as sleeping frees its slot for others, and counts again when it wakes', async () => {
  const { admitter, asked, enter } = stand()
  const first = [await enter('a'), await enter('a'), await enter('a')]
  void enter('a')
  await settled()
  assert.equal(admitter.waiting, 1, 'three of four are what one tenant may have')
  first[0]!.updateUse({ isBusy: false, memory: 10 })
  await settled()
  assert.deepEqual([asked.length, admitter.running, admitter.busy], [4, 4, 3])
  assert.equal(admitter.memory, 310)
  first[0]!.updateUse({ isBusy: true, memory: 250 })
  assert.deepEqual([admitter.busy, admitter.memory], [4, 550])
  for (const place of first) place.release()
  assert.deepEqual([admitter.running, admitter.busy, admitter.memory], [1, 1, 100])
  first[0]!.updateUse({ isBusy: true, memory: 999 })
  assert.equal(admitter.memory, 100, 'a place that was left counts for nothing')
})

test('Sleeping jobs are limited too, also per tenant', async () => {
  const clock = new SimulatedClock()
  const admitter = new Admitter({ ...budget, memory: 100_000, jobs: 8 }, clock)
  for (let n = 0; n < 6; n++) {
    const place = await admitter.admit('a', 1, signal)
    place.updateUse({ isBusy: false, memory: 1 })
  }
  void admitter.admit('a', 1, signal).catch(() => undefined)
  await settled()
  assert.deepEqual([admitter.running, admitter.busy, admitter.waiting], [6, 0, 1])
  await admitter.admit('b', 1, signal)
  assert.equal(admitter.running, 7)
})

test('A counting error is asserted: releasing walls that were never acquired, and a measured use of NaN', async () => {
  await assert.rejects(stand().admitter.admit('a', 0, signal, { walls: -1 }), AssertionError)
  await assert.rejects(stand().admitter.admit('a', -1, signal), AssertionError)
  const place = await stand().enter('b')
  assert.throws(() => place.updateUse({ isBusy: true, memory: Number.NaN }), AssertionError)
  const leaks = [
    { running: 1, busy: 2, memory: 0 },
    { running: 1, busy: -1, memory: 0 },
    { running: 0, busy: 0, memory: 100 },
  ]
  for (const counts of leaks) assert.throws(() => assertCounted(counts), AssertionError)
})

suite('Jobs that are expected to be short', () => {
  /** Three long jobs of a tenant hold its slots, and two more wait. */
  async function occupied() {
    const clock = new SimulatedClock()
    const admitter = new Admitter({ ...budget, express: 2, queueMax: 10 }, clock)
    const enter = (tenant: string, isShort = false, memory = 100) =>
      admitter.admit(tenant, memory, signal, { isShort: () => isShort })
    const long = [await enter('a'), await enter('a'), await enter('a')]
    const waiting = [enter('a'), enter('a')]
    for (const one of waiting) one.catch(() => undefined)
    return { admitter, enter, long }
  }

  test('overtake waiting long jobs, up to the share of a tenant in the express slots', async () => {
    const { admitter, enter } = await occupied()
    const first = await enter('a', true)
    assert.equal(first.waited, 0)
    assert.equal(admitter.waiting, 2)
    const second = enter('a', true)
    await settled()
    assert.equal(admitter.waiting, 3, 'one of two places is left to others')
    await enter('b', true)
    first.release()
    assert.ok(await second)
    assert.equal(admitter.waiting, 2, 'the long ones wait on')
  })

  test('leave the ordinary slots as they are: another tenant has its long job admitted at once', async () => {
    const { enter } = await occupied()
    await enter('a', true)
    assert.equal((await enter('b')).waited, 0)
  })

  test('keep their slot if the forecast was wrong, and release it once', async () => {
    const { admitter, enter } = await occupied()
    const wrong = await enter('a', true)
    wrong.updateUse({ isBusy: true, memory: 50 })
    assert.equal(admitter.busy, 4)
    wrong.updateUse({ isBusy: false, memory: 50 })
    assert.equal(admitter.busy, 3)
    const next = await enter('a', true)
    wrong.release()
    wrong.release()
    next.release()
    assert.equal(admitter.busy, 3)
    assert.equal(admitter.memory, 300)
  })

  test('use an ordinary slot if one is free', async () => {
    const admitter = new Admitter({ ...budget, express: 2 }, new SimulatedClock())
    const enter = (isShort: boolean) => admitter.admit('a', 100, signal, { isShort: () => isShort })
    await enter(true)
    const long = [enter(false), enter(false), enter(false)]
    for (const one of long) one.catch(() => undefined)
    await settled()
    assert.equal(admitter.running, 3, 'the short one holds one of three places')
    assert.equal(admitter.waiting, 1)
    await enter(true)
    assert.equal(admitter.running, 4)
  })

  test('get no express slots while short jobs alone hold the ordinary ones', async () => {
    const admitter = new Admitter({ ...budget, express: 2 }, new SimulatedClock())
    const enter = (isShort: boolean) => {
      const place = admitter.admit('a', 100, signal, { isShort: () => isShort })
      place.catch(() => undefined)
      return place
    }
    const short = [await enter(true), await enter(true), await enter(true)]
    void enter(true)
    await settled()
    assert.deepEqual([admitter.running, admitter.waiting], [3, 1])
    short[0]!.release()
    await settled()
    assert.deepEqual([admitter.running, admitter.waiting], [3, 0])
    short[1]!.release()
    await enter(false)
    await enter(true)
    assert.equal(admitter.running, 4, 'a long one holds one of the others now')
  })

  test('are forecast again once a slot is free: code that became long in the meantime waits', async () => {
    const clock = new SimulatedClock()
    const admitter = new Admitter({ ...budget, express: 2 }, clock)
    let isShort = true
    const enter = (short: () => boolean) => {
      const place = admitter.admit('a', 100, signal, { isShort: short })
      place.catch(() => undefined)
      return place
    }
    for (let n = 0; n < 3; n++) await enter(() => false)
    const first = await enter(() => isShort)
    void enter(() => isShort)
    isShort = false
    first.release()
    await settled()
    assert.equal(admitter.waiting, 1)
  })

  test('overtake a job that does not fit into the express slots', async () => {
    const { admitter, enter } = await occupied()
    const first = await enter('a', true)
    const large = enter('a', true, 590)
    large.catch(() => undefined)
    const small = enter('a', true)
    first.release()
    assert.ok(await small)
    assert.equal(admitter.waiting, 3)
  })
})
