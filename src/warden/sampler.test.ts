import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import type { Sleep } from '../lib/sleep.ts'
import { Sampler, type SampledWall } from './sampler.ts'
import type { Pressure } from './pressure.ts'
import type { MemorySample } from '../contract/engine.ts'
import type { WallEnd } from '../contract/warden.ts'

const lookMs = 10
const aFewLooksMs = 40

suite('Sampling a wall', () => {
  test('A wall ends once, at its deadline', async () => {
    using stand = holding()
    stand.sampler.add(held({ deadlineAt: performance.now() }))
    assert.deepEqual(await stand.ended, ['w1', 'deadline'])
    assert.equal(stand.sampler.forget('w1'), undefined)
  })

  test('S2-8: A wall ends if the machine was suspended past its deadline', async () => {
    let slept = 0
    const check = () => {
      const told = slept
      slept = 0
      return told
    }
    using stand = holding({ check })
    stand.sampler.add(held({ deadlineAt: performance.now() + 3_600_000 }))
    await looks()
    assert.deepEqual(stand.ends, [])
    slept = 3_600_000
    assert.deepEqual(await stand.ended, ['w1', 'deadline'])
  })

  test('A wall ends when it has more memory than its bound', async () => {
    using stand = holding()
    stand.sampler.add(held({ sample: sampled({ bytesMax: 1 }) }))
    assert.deepEqual(await stand.ended, ['w1', 'memory'])
  })

  test('The deadline is lifted when the job is over, and set again by the next arm', async () => {
    using stand = holding()
    stand.sampler.add(held({ deadlineAt: performance.now() + 5 }))
    stand.sampler.rest('w1')
    await looks()
    assert.deepEqual(stand.ends, [])
    assert.equal(stand.sampler.rearm('w1', 0), true)
    assert.deepEqual(await stand.ended, ['w1', 'deadline'])
    assert.equal(stand.sampler.rearm('w1', 60_000), false)
  })

  test('A deadline set while a job runs keeps the peak of that job', async () => {
    using stand = holding()
    stand.sampler.add(held({ peakBytes: 7, sample: sampled({ bytes: 0 }) }))
    assert.equal(stand.sampler.rearm('w1', 60_000, true), true)
    assert.equal(stand.sampler.rest('w1')?.peakBytes, 7)
    assert.equal(stand.sampler.rearm('w1', 60_000), true)
    assert.equal(stand.sampler.rest('w1')?.peakBytes, 0)
  })

  test('A job that is frozen for a capture gets the time for it, and never less than it had', async () => {
    using stand = holding()
    const one = held({ deadlineAt: performance.now() + 60_000 })
    stand.sampler.add(one)
    const { deadlineAt } = one
    stand.sampler.extend('w1', 1)
    assert.equal(one.deadlineAt, deadlineAt)
    stand.sampler.extend('w1', 3_600_000)
    const most = performance.now() + 3_600_000
    assert.ok(one.deadlineAt > most - 60_000 && one.deadlineAt <= most)
    one.deadlineAt = performance.now()
    stand.sampler.extend('w1', 60_000)
    assert.ok(one.deadlineAt <= performance.now())
    assert.deepEqual(await stand.ended, ['w1', 'deadline'])
  })

  test('A passed deadline is not extended, even before a sample notices it: the wall ends', () => {
    using stand = holding()
    stand.sampler.add(held({ deadlineAt: performance.now() }))
    assert.equal(stand.sampler.rearm('w1', 60_000), false)
    assert.deepEqual(stand.ends, [['w1', 'deadline']])
  })

  test('S2-8: A deadline that passed during a suspend is not extended by a request before the next sample', () => {
    let slept = 0
    using stand = holding({ check: () => slept })
    stand.sampler.add(held({ deadlineAt: performance.now() + 60_000 }))
    slept = 3_600_000
    assert.equal(stand.sampler.rearm('w1', 60_000), false)
    assert.deepEqual(stand.ends, [['w1', 'deadline']])
  })

  test('S2-8: A suspend before a deadline was set does not count towards it', async () => {
    const slept = [0]
    using stand = holding({ check: () => slept.pop() ?? 0 })
    stand.sampler.add(held())
    await looks()
    slept.push(3_600_000)
    assert.equal(stand.sampler.rearm('w1', 60_000), true)
    slept.push(3_600_000)
    stand.sampler.forget('w1')
    stand.sampler.add(held({ wall: 'w2', deadlineAt: performance.now() + 60_000 }))
    assert.deepEqual(slept, [])
    await looks()
    await looks()
    assert.deepEqual(stand.ends, [])
  })

  test('A wall of many processes has the size that its watch reports, and ends after an OOM kill', async () => {
    using stand = holding()
    stand.sampler.add(held({ sample: sampled({ bytes: 8, bytesMax: 9 }) }))
    await looks()
    assert.deepEqual(stand.ends, [])
    stand.sampler.add(held({ wall: 'w2', sample: sampled({ bytes: 10, bytesMax: 9 }) }))
    assert.deepEqual(await stand.ended, ['w2', 'memory'])
    stand.sampler.add(held({ wall: 'w3', sample: sampled({ bytes: 0, isOutOfMemory: true }) }))
    await looks()
    assert.deepEqual(stand.ends, [
      ['w2', 'memory'],
      ['w3', 'memory'],
    ])
  })

  test('A bound that falls below an earlier peak ends no wall that has given the memory back', async () => {
    using stand = holding()
    let now = { bytes: 150, bytesMax: 256 }
    stand.sampler.add(held({ sample: () => ({ ...now, isOutOfMemory: false }) }))
    await looks()
    now = { bytes: 20, bytesMax: 96 }
    await looks()
    assert.deepEqual(stand.ends, [])
    now = { bytes: 97, bytesMax: 96 }
    assert.deepEqual(await stand.ended, ['w1', 'memory'])
  })

  test('A wall that cannot be sampled ends, and the others are still sampled', async () => {
    using stand = holding()
    const sample = () => {
      throw new Error('ENOENT: no such group')
    }
    stand.sampler.add(held({ sample }))
    stand.sampler.add(held({ wall: 'w2', deadlineAt: performance.now() + 20 }))
    await looks()
    await looks()
    assert.deepEqual(stand.ends, [
      ['w1', 'killed'],
      ['w2', 'deadline'],
    ])
  })

  test('Under memory pressure, one sample ends all victims', async () => {
    let isShort = true
    using stand = holding(undefined, (active) => {
      if (!isShort) return []
      isShort = false
      return [...active].slice(0, 3)
    })
    for (const wall of ['w1', 'w2', 'w3', 'w4']) stand.sampler.add(held({ wall }))
    await stand.ended
    // The callbacks of one look run before any awaiter of the first.
    assert.deepEqual(
      stand.ends,
      ['w1', 'w2', 'w3'].map((wall) => [wall, 'pressure']),
    )
    assert.deepEqual(
      [...stand.sampler.active].map(({ wall }) => wall),
      ['w4'],
    )
  })

  test('A forgotten wall is no longer sampled, and its peak is returned', async () => {
    using stand = holding()
    stand.sampler.add(held())
    await looks()
    assert.ok(stand.sampler.forget('w1')!.peakBytes > 2 ** 20)
    assert.equal(stand.sampler.forget('w1'), undefined)
    assert.equal(stand.sampler.rest('w1'), undefined)
    assert.deepEqual(stand.ends, [])
  })

  test('While no wall has a job, the warden wakes up only to sample idle walls, and samples the next job at once', () => {
    mock.timers.enable({ apis: ['setInterval'] })
    let [looks, samples] = [0, 0]
    using stand = holding({ check: () => 0 }, () => (looks++, []))
    const sample = () => (samples++, { bytes: 1, bytesMax: 2, isOutOfMemory: false })
    const during = (ms: number) => {
      ;[looks, samples] = [0, 0]
      for (let at = 0; at < ms; at += lookMs) mock.timers.tick(lookMs)
      return [looks, samples]
    }
    try {
      stand.sampler.add(held({ sample }))
      assert.deepEqual(during(80), [8, 8])
      stand.sampler.rest('w1')
      during(80)
      assert.deepEqual(during(800), [10, 10])
      stand.sampler.rearm('w1', 60_000)
      assert.deepEqual(during(80), [8, 8])
      stand.sampler.rest('w1')
      during(240)
      // A job right before the next sample of the idle walls: they do not wait for eight more.
      during(70)
      stand.sampler.add(held({ wall: 'w2' }))
      assert.deepEqual(during(10), [1, 1])
      assert.deepEqual(during(80), [8, 1])
    } finally {
      mock.timers.reset()
    }
  })
})

function held(to: Partial<SampledWall> = {}): SampledWall {
  return { wall: 'w1', deadlineAt: Infinity, peakBytes: 0, sample: sampled(), ...to }
}

function sampled(to: Partial<MemorySample> = {}): () => MemorySample {
  return () => ({ bytes: 2 ** 21, bytesMax: Infinity, isOutOfMemory: false, ...to })
}

function holding(sleep?: Sleep, pressure?: Pressure) {
  const ends: (readonly [string, WallEnd])[] = []
  const { promise, resolve } = Promise.withResolvers<readonly [string, WallEnd]>()
  const sampler = new Sampler(
    (one, how) => {
      ends.push([one.wall, how])
      resolve([one.wall, how])
    },
    lookMs,
    { ...(sleep && { sleep }), ...(pressure && { pressure }) },
  )
  return { ends, sampler, ended: promise, [Symbol.dispose]: () => sampler.close() }
}

function looks(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, aFewLooksMs))
}
