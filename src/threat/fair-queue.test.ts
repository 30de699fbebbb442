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
  const enter = async (tenant: string, units = 1, sender?: string) => {
    const name = sender === undefined ? tenant : `${tenant}/${sender}`
    try {
      held.push(await turns.enter(tenant, units, sender))
      heard.push(name)
    } catch (error) {
      const { code, message } = error as MayflyError
      heard.push(`${name} ${code}: ${message.split(': ')[1]}`)
    }
  }
  return {
    clock,
    heard,
    held,
    enter: (tenant: string, units?: number) => void enter(tenant, units),
    send: (sender: string, units?: number) => void enter('page', units, sender),
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

test('A sender has half of the slots of its tenant, so that another sender finds one at once', async () => {
  for (const [places, most] of [
    [8, 3],
    [4, 1],
    [3, 1],
  ] as const) {
    const { heard, send } = stand({ places, waitingMax: 50 })
    for (let n = 0; n < 16; n++) send('flood')
    await settled()
    assert.equal(heard.length, most)
    send('quiet')
    await settled()
    assert.deepEqual(heard.slice(most), ['page/quiet'])
  }
})

test('With one process, senders of a tenant alternate, and its tenant alternates with others', async () => {
  const { heard, held, enter, send } = stand({ places: 1, waitingMax: 50 })
  for (let n = 0; n < 16; n++) send('flood')
  for (let n = 0; n < 2; n++) send('quiet')
  enter('acme')
  for (let n = 0; n < 7; n++) {
    await settled()
    held[n]!()
  }
  assert.deepEqual(heard, [
    'page/flood',
    'page/flood',
    'acme',
    'page/quiet',
    'page/flood',
    'page/quiet',
    'page/flood',
  ])
})

test('A sender may fill half of the queue of its tenant, in number and in units, and others of the tenant still wait', async () => {
  const { heard, held, send } = stand({ places: 1, waitingMax: 4 })
  send('flood')
  for (const units of [25, 25, 1]) send('flood', units)
  for (const units of [25, 26]) send('large', units)
  send('quiet', 25)
  await settled()
  const refused = (name: string) => `page/${name} OVERLOADED: too much of this sender is waiting`
  assert.deepEqual(heard, ['page/flood', refused('flood'), refused('large')])
  for (let n = 0; n < 5; n++) {
    held[n]?.()
    await settled()
  }
  assert.deepEqual(heard.slice(3), ['page/flood', 'page/large', 'page/quiet', 'page/flood'])
})

test('Senders that fill the queue of their tenant leave room for a first request of another one, and for other tenants', async () => {
  const { heard, held, enter, send } = stand({ places: 1, waitingMax: 9 })
  send('a')
  for (const sender of ['a', 'a', 'b', 'b']) send(sender, 25)
  send('quiet', 100)
  send('more', 1)
  send('quiet', 1)
  enter('acme', 199)
  await settled()
  const refused = 'page/quiet OVERLOADED: too much of this sender is waiting'
  const full = 'page/more OVERLOADED: too much of this tenant is waiting'
  assert.deepEqual(heard, ['page/a', full, refused])
  for (let n = 0; n < 7; n++) {
    held[n]?.()
    await settled()
  }
  assert.deepEqual(heard.slice(3), ['page/a', 'acme', 'page/b', 'page/quiet', 'page/a', 'page/b'])
})

test('First requests of many senders leave half of the queue to other tenants', async () => {
  const { heard, enter, send } = stand({ places: 1 })
  send('a')
  for (const sender of ['b', 'c', 'd']) send(sender, 90)
  enter('acme', 200)
  await settled()
  const refused = 'page/d OVERLOADED: too much of this tenant is waiting'
  assert.deepEqual(heard, ['page/a', refused])
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
