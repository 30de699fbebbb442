import assert from 'node:assert/strict'
import { test } from 'node:test'
import { phasesOf, profileOf, scheduleOf, stage, taskOf } from '../../tests/sim/simulated-life.ts'
import type { Event } from '../contract/event.ts'
import { createEventForwarder } from './event-forwarder.ts'

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

/** A life, by default over after three denied connections, and how long it lasted. */
async function live(
  events: readonly Event[],
  terminateIf = 'events["egress/denied"] >= 3',
): Promise<number> {
  const [phase] = phasesOf(1000)
  const schedule = scheduleOf([{ ...phase!, terminateIf }])
  const { sink, observe } = createEventForwarder()
  const observers = [observe()]
  const staged = await stage({ script: () => [] }, profileOf({ schedule }), { observers })
  const { supervisor, clock, io } = staged
  clock.after(100, () => events.forEach(sink))
  const life = supervisor.run(taskOf({ run: 'exec_1' }), io)
  await clock.run()
  events.forEach(sink)
  return (await life).executionTime
}

test('Egress events seen by the host are counted in conditions', async () => {
  assert((await live([denied, denied, denied])) < 200)
  assert.equal(await live([denied, denied]), 1000)
})

test('Events seen by the wall are counted once, and statements of the guest not at all', async () => {
  const seen = { ...denied, trust: 'wall', point: 'seen/exec', actor: 'sentinel' } as const
  const until = 'events["seen/exec"] >= 3'
  assert((await live([seen, seen, seen], until)) < 200)
  assert.equal(await live([seen, seen], until), 1000)
  const said = { ...seen, trust: 'guest' } as const
  assert.equal(await live([seen, seen, said], until), 1000)
})

test("Events of other lives, direct reports of the wall and the supervisor's own events are not counted twice", async () => {
  for (const more of [
    { run: 'exec_2' },
    { run: null },
    { trust: 'wall' },
    { actor: 'temporal' },
  ] as const)
    assert.equal(await live([denied, denied, { ...denied, ...more }]), 1000)
})
