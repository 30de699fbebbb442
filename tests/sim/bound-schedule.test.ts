import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sampledRuns } from '../fixtures/drawn.ts'
import { configOf, jobOf } from '../fixtures/profile-world.ts'
import { allControls, isWithin } from '../../src/contract/controls.ts'
import { mainZone } from '../../src/contract/phase.ts'
import { chooseSchedule } from '../../src/profile/choose-schedule.ts'
import { scheduleFor } from '../../src/profile/schedule.ts'
import {
  initialState,
  type LifeInput,
  type Life,
  nextState,
  mainOf,
} from '../../src/lives/schedule.ts'

const phase = fc.record(
  {
    for: fc.constantFrom(10, 20, 30),
    cpu: fc.constantFrom(1, 2),
    network: fc.constant('none' as const),
    files: fc.constant('none' as const),
  },
  { requiredKeys: ['for'] },
)
const reaction = fc.constantFrom('record', 'advance', 'tighten', 'freeze', 'capture', 'terminate')
/** Schedules that only close, as the loader accepts them. */
const course = fc.record({
  phases: fc.array(phase, { minLength: 1, maxLength: 3 }).map((all) =>
    all.map((one, place) => ({
      ...one,
      ...(one.cpu !== undefined && { cpu: place === 0 ? one.cpu : 1 }),
      name: `p${place}`,
    })),
  ),
  on_anomaly: fc.record({ low: reaction, medium: reaction, high: reaction }),
  shorten: fc.constantFrom(0, 0.5, 1),
})
const input: fc.Arbitrary<{ readonly wait: number; readonly told: LifeInput }> = fc.record({
  wait: fc.integer({ min: 0, max: 15 }),
  told: fc.oneof(
    fc.constant<LifeInput>({ kind: 'time', at: 0 }),
    fc.constant<LifeInput>({ kind: 'advance', at: 0, zone: mainZone, reason: 'x' }),
    fc
      .constantFrom('low' as const, 'medium' as const, 'high' as const)
      .map<LifeInput>((severity) => ({
        kind: 'anomaly',
        at: 0,
        zone: mainZone,
        severity,
        reason: 'x',
      })),
  ),
})

test("A job's own schedule is never looser than the bound one it replaces, whatever happens", () => {
  const runs = sampledRuns(10_000, import.meta.filename)
  let compared = 0
  fc.assert(
    fc.property(course, course, fc.array(input, { maxLength: 12 }), (bound, named, story) => {
      const config = configOf({
        schedules: { bound: { ...bound, for_origins: ['library'] }, named },
      })
      const chosen = chooseSchedule(jobOf({ schedule: 'named' }), config)
      if (chosen.name !== 'named') return
      compared += 1
      const limit = chooseSchedule(jobOf(), config)
      const [own, other] = [chosen, limit].map((one) => {
        const schedule = scheduleFor({
          chosen: one,
          granted: allControls,
          timeoutMs: 1,
          trust: 'plain',
        })
        return initialState(schedule, allControls, one.lifeMs!).life
      })
      let lives = { own: own!, other: other! }
      let at = 0
      for (const { wait, told } of story) {
        at += wait
        lives = {
          own: after(lives.own, { ...told, at }),
          other: after(lives.other, { ...told, at }),
        }
        const [mine, most] = [mainOf(lives.own), mainOf(lives.other)]
        assert(mine.end || !most.end, 'it goes on when the bound one is over')
        assert(mine.end || isWithin(mine.controls, most.controls), 'it may more than the bound one')
      }
    }),
    { numRuns: runs },
  )
  assert(compared > runs / 200, `only ${compared} were compared`)
})

/** A captured life is frozen, then ended by the caller. */
function after(life: Life, input: LifeInput): Life {
  const { life: later, actions } = nextState(life, input)
  const isCaptured = actions.some(({ kind }) => kind === 'capture')
  return isCaptured
    ? nextState(later, { kind: 'terminate', at: input.at, zone: mainZone, reason: 'captured' }).life
    : later
}
