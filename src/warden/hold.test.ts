import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { suite, test } from 'node:test'
import type { Sleep } from '../lib/sleep.ts'
import { createHolder, type Held } from './hold.ts'
import type { Pressure } from './pressure.ts'
import type { WallEnd } from '../contract/warden.ts'

const aFewLooksMs = 40

suite('Holding a wall', { skip: !existsSync('/proc/self/statm') && 'no /proc' }, () => {
  test('It ends once, at its deadline', async () => {
    using stand = holding()
    stand.holder.hold(held({ deadlineAt: performance.now() }))
    assert.deepEqual(await stand.ended, ['w1', 'deadline'])
    assert.equal(stand.holder.forget('w1'), undefined)
  })

  test('S2-8: It ends when the machine slept past its deadline', async () => {
    let slept = 0
    using stand = holding({ look: () => slept })
    stand.holder.hold(held({ deadlineAt: performance.now() + 3_600_000 }))
    await looks()
    assert.deepEqual(stand.ends, [])
    slept = 3_600_000
    assert.deepEqual(await stand.ended, ['w1', 'deadline'])
  })

  test('It ends when it has more memory than it may', async () => {
    using stand = holding()
    stand.holder.hold(held({ residentMax: 1 }))
    assert.deepEqual(await stand.ended, ['w1', 'memory'])
  })

  test('Its job over, the deadline goes; armed again, there is a new one', async () => {
    using stand = holding()
    stand.holder.hold(held({ deadlineAt: performance.now() + 5 }))
    stand.holder.rest('w1')
    await looks()
    assert.deepEqual(stand.ends, [])
    assert.equal(stand.holder.arm('w1', performance.now()), true)
    assert.deepEqual(await stand.ended, ['w1', 'deadline'])
    assert.equal(stand.holder.arm('w1', performance.now()), false)
  })

  test('A wall of many processes is as large as its watch says, and ends when the kernel ended one', async () => {
    using stand = holding()
    stand.holder.hold(
      held({ wall: 'w2', residentMax: 9, watch: () => ({ bytes: 10, isBeyond: false }) }),
    )
    assert.deepEqual(await stand.ended, ['w2', 'memory'])
    stand.holder.hold(held({ wall: 'w3', watch: () => ({ bytes: 0, isBeyond: true }) }))
    await looks()
    assert.deepEqual(stand.ends.at(-1), ['w3', 'memory'])
  })

  test('A wall that cannot be looked at ends, and the others are held on', async () => {
    using stand = holding()
    const watch = () => {
      throw new Error('ENOENT: no such group')
    }
    stand.holder.hold(held({ watch }))
    stand.holder.hold(held({ wall: 'w2', deadlineAt: performance.now() + 20 }))
    await looks()
    await looks()
    assert.deepEqual(stand.ends, [
      ['w1', 'killed'],
      ['w2', 'deadline'],
    ])
  })

  test('Short of memory, one look ends all the walls that have to go', async () => {
    let isShort = true
    using stand = holding(undefined, (active) => {
      if (!isShort) return []
      isShort = false
      return [...active].slice(0, 3)
    })
    for (const wall of ['w1', 'w2', 'w3', 'w4']) stand.holder.hold(held({ wall }))
    await stand.ended
    // The callbacks of one look run before whoever waits for the first.
    assert.deepEqual(
      stand.ends,
      ['w1', 'w2', 'w3'].map((wall) => [wall, 'pressure']),
    )
    assert.deepEqual(
      [...stand.holder.active].map(({ wall }) => wall),
      ['w4'],
    )
  })

  test('Forgotten, it is held no longer, and its peak is told', async () => {
    using stand = holding()
    stand.holder.hold(held())
    await looks()
    assert.ok(stand.holder.forget('w1')!.peakBytes > 2 ** 20)
    assert.equal(stand.holder.forget('w1'), undefined)
    assert.equal(stand.holder.rest('w1'), undefined)
    assert.deepEqual(stand.ends, [])
  })
})

function held(to: Partial<Held> = {}): Held {
  const never = { deadlineAt: Infinity, residentMax: Infinity }
  return { wall: 'w1', pid: process.pid, peakBytes: 0, ...never, ...to }
}

function holding(sleep?: Sleep, pressure?: Pressure) {
  const ends: (readonly [string, WallEnd])[] = []
  const { promise, resolve } = Promise.withResolvers<readonly [string, WallEnd]>()
  const holder = createHolder(
    (one, how) => {
      ends.push([one.wall, how])
      resolve([one.wall, how])
    },
    10,
    { ...(sleep && { sleep }), ...(pressure && { pressure }) },
  )
  return { ends, holder, ended: promise, [Symbol.dispose]: () => holder.close() }
}

function looks(): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, aFewLooksMs))
}
