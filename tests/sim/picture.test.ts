import assert from 'node:assert/strict'
import { test } from 'node:test'
import { planOf } from '../../src/picture/life.js'
import { pictureOf } from '../../src/picture/picture.js'
import { phasesOf, profileOf, scheduleOf, stage, taskOf } from './simulated-life.ts'

/** Picture of a life on a simulated clock, with an optional anomaly. */
async function drawn(anomalyAt?: number) {
  const profile = profileOf({ schedule: scheduleOf(phasesOf(1000, 2000, 1000)) })
  const { clock, supervisor, sandbox, io } = await stage({ script: () => [] }, profile)
  const life = supervisor.run(taskOf(), io)
  const fields = { severity: 'medium', reason: 'It calls home' }
  if (anomalyAt !== undefined)
    clock.after(anomalyAt, () =>
      supervisor.notice({ point: 'anomaly/found', zone: 'main', fields }),
    )
  await clock.run()
  const { end, timeline, executionTime } = await life
  await supervisor[Symbol.asyncDispose]()
  await sandbox[Symbol.asyncDispose]()
  const plan = planOf(profile)
  const told = { status: end.status, wall: 'mock', timeline, plan, age: executionTime, network: [] }
  return pictureOf(told)
}

test('A life that went as planned is drawn as planned', async () => {
  const { lanes, plannedEnd, age } = await drawn()
  assert.deepEqual([plannedEnd, age], [4000, 4000])
  const [{ bands, shape, planned }] = lanes as [(typeof lanes)[0]]
  assert.deepEqual(
    bands.map(({ from, to, cut }) => [from, to, cut]),
    [
      [0, 1000, undefined],
      [1000, 3000, undefined],
      [3000, 4000, undefined],
    ],
  )
  assert.deepEqual(shape, planned)
})

test('S2-15: a life advanced by an anomaly shows the time each phase lost', async () => {
  const { lanes, happenings, age } = await drawn(400)
  assert.equal(age, 1900)
  const [{ bands }] = lanes as [(typeof lanes)[0]]
  assert.deepEqual(
    bands.map(({ from, to, cut }) => [from, to, cut?.lost, cut?.isAnomaly]),
    [
      [0, 400, 600, true],
      [400, 1400, 1000, false],
      [1400, 1900, 500, false],
    ],
  )
  assert.match(bands[0]!.cut!.why, /It calls home/)
  assert.deepEqual(
    happenings.map(({ kind, at }) => [kind, at]),
    [
      ['anomaly', 400],
      ['advanced', 400],
      ['tightened', 400],
      ['tightened', 1400],
      ['terminated', 1900],
    ],
  )
})
