import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SimulatedClock } from '../../tests/sim/simulated-clock.ts'
import type { MayflyError } from '../contract/error.ts'
import { FairQueue, type FairQueueBounds } from './fair-queue.ts'

const bounds: FairQueueBounds = {
  places: 2,
  waitingMax: 5,
  waitingUnitsMax: 400,
  waitMsMax: 1000,
}

/** Records grants and refusals in the order of notification. */
function stand(changed: Partial<FairQueueBounds> = {}) {
  const clock = new SimulatedClock()
  const turns = new FairQueue({ ...bounds, ...changed }, clock)
  const heard: string[] = []
  const held: (() => void)[] = []
  const enter = async (tenant: string, units = 1) => {
    try {
      held.push(await turns.enter(tenant, units))
      heard.push(tenant)
    } catch (error) {
      const { code, message } = error as MayflyError
      heard.push(`${tenant} ${code}: ${message.split(': ')[1]}`)
    }
  }
  return {
    clock,
    heard,
    held,
    enter: (tenant: string, units?: number) => void enter(tenant, units),
  }
}

const settled = () => new Promise((resolve) => void setImmediate(resolve))

test('No tenant gets every process, so that a second tenant finds one at once', async () => {
  const { heard, enter } = stand()
  for (let n = 0; n < 3; n++) enter('flood')
  await settled()
  assert.deepEqual(heard, ['flood'])
  enter('quiet')
  await settled()
  assert.deepEqual(heard, ['flood', 'quiet'])
})

test('A tenant may have three quarters of the processes: all without other tenants, and always at least one', async () => {
  for (const [places, alone, most] of [
    [8, false, 6],
    [3, false, 2],
    [1, false, 1],
    [2, true, 2],
  ] as const) {
    const { heard, enter } = stand({ places, alone })
    for (let n = 0; n <= places; n++) enter('one')
    await settled()
    assert.equal(heard.length, most)
  }
})

test('With one process, tenants alternate regardless of arrival order', async () => {
  const { heard, held, enter } = stand({ places: 1 })
  for (let n = 0; n < 4; n++) enter('flood')
  for (let n = 0; n < 2; n++) enter('quiet')
  for (let n = 0; n < 6; n++) {
    await settled()
    held[n]!()
  }
  assert.deepEqual(heard, ['flood', 'flood', 'quiet', 'flood', 'quiet', 'flood'])
})

test('Releasing a slot twice frees it once', async () => {
  const { heard, held, enter } = stand()
  for (let n = 0; n < 3; n++) enter('flood')
  await settled()
  held[0]!()
  held[0]!()
  await settled()
  assert.deepEqual(heard, ['flood', 'flood'])
})

test('A tenant may fill a quarter of the queue; beyond it its requests are refused, and others still wait', async () => {
  const { heard, held, enter } = stand({ places: 1 })
  enter('flood')
  enter('flood', 60)
  enter('flood', 40)
  await settled()
  for (const units of [1, 100]) enter('flood', units)
  for (const tenant of ['a', 'b', 'c']) enter(tenant, 100)
  await settled()
  const refused = 'flood OVERLOADED: too much of this tenant is waiting'
  assert.deepEqual(heard, ['flood', refused, refused])
  for (let n = 0; n < 6; n++) {
    held[n]?.()
    await settled()
  }
  assert.deepEqual(heard.slice(3), ['flood', 'a', 'b', 'c', 'flood'])
})

test('The whole queue is bounded in units, each tenant in number; finished requests make room', async () => {
  const { heard, held, enter } = stand({ places: 1 })
  for (let n = 0; n < 7; n++) enter('many')
  for (const tenant of ['a', 'b', 'c', 'd']) enter(tenant, 99)
  await settled()
  assert.deepEqual(heard, [
    'many',
    'many OVERLOADED: too much of this tenant is waiting',
    'd OVERLOADED: too much is waiting',
  ])
  held[0]!()
  await settled()
  enter('d', 99)
  await settled()
  assert.deepEqual(heard.slice(3), ['many'])
})

test('A request larger than a share may wait alone, and leaves a share to others', async () => {
  const { heard, held, enter } = stand({ places: 1 })
  enter('big')
  enter('big', 301)
  enter('big', 300)
  enter('big', 1)
  enter('quiet', 100)
  await settled()
  const refused = 'big OVERLOADED: too much of this tenant is waiting'
  assert.deepEqual(heard, ['big', refused, refused])
  held[0]!()
  await settled()
  assert.equal(heard.length, 4)
})

test('A request that waits too long is refused, and makes room for another', async () => {
  const { clock, heard, held, enter } = stand({ places: 1 })
  enter('a')
  enter('b', 100)
  await clock.run(500)
  enter('c', 100)
  await clock.run(1000)
  assert.deepEqual(heard, ['a', 'b OVERLOADED: waited too long'])
  enter('b', 100)
  held[0]!()
  await settled()
  assert.deepEqual(heard.slice(2), ['c'])
  held[1]!()
  await settled()
  assert.deepEqual(heard.slice(2), ['c', 'b'])
  assert.equal(clock.pending, 0)
})
