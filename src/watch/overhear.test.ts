import assert from 'node:assert/strict'
import { test } from 'node:test'
import { phasesOf, profileOf, scheduleOf, stage, taskOf } from '../../tests/sim/stage.ts'
import type { Event } from '../contract/event.ts'
import { overhear } from './overhear.ts'

const denied: Event = {
  format: 1,
  seq: 1,
  at: 0,
  run: 'exec_1',
  zone: 'main',
  point: 'egress/denied',
  actor: 'egress',
  trust: 'host',
  fields: {},
}

/** A life that is over when three tries to get out were refused, unless it says otherwise, and how long it lasted. */
async function live(
  events: readonly Event[],
  terminateIf = 'events["egress/denied"] >= 3',
): Promise<number> {
  const [phase] = phasesOf(1000)
  const schedule = scheduleOf([{ ...phase!, terminateIf }])
  const { supervisor, clock, io } = await stage({ script: () => [] }, profileOf({ schedule }))
  const { sink, over } = overhear()
  clock.after(100, () => events.forEach(sink))
  const life = over(supervisor).run(taskOf({ run: 'exec_1' }), io)
  await clock.run()
  events.forEach(sink)
  return (await life).executionTime
}

test('A life counts what the host saw of it at its way out', async () => {
  assert((await live([denied, denied, denied])) < 200)
  assert.equal(await live([denied, denied]), 1000)
})

test('A life counts what its wall sees, once, and believes no guest', async () => {
  const seen = { ...denied, trust: 'wall', point: 'seen/exec', actor: 'sentinel' } as const
  const until = 'events["seen/exec"] >= 3'
  assert((await live([seen, seen, seen], until)) < 200)
  assert.equal(await live([seen, seen], until), 1000)
  const said = { ...seen, trust: 'guest' } as const
  assert.equal(await live([seen, seen, said], until), 1000)
})

test('What happened in another life, what the wall tells by itself and what the supervisor said count no second time', async () => {
  for (const more of [
    { run: 'exec_2' },
    { run: null },
    { trust: 'wall' },
    { actor: 'temporal' },
  ] as const)
    assert.equal(await live([denied, denied, { ...denied, ...more }]), 1000)
})
