import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { allControls, isWithin, unlimited, type Controls } from '../contract/controls.ts'
import type { Phase } from '../contract/phase.ts'
import { type PhasePlan, endStepEarly, planPhases, stepAt } from './phase-plan.ts'

const hosts = fc.subarray([
  'https://a.example:443',
  'https://*.b.example:443',
  'https://x.b.example:443',
])
const controls: fc.Arbitrary<Controls> = fc.record({
  network: fc.record({ allow: fc.oneof(fc.constant('any' as const), hosts), deny: hosts }),
  files: fc.record({ read: fc.subarray(['/', '/a', '/a/b']), write: fc.subarray(['/', '/a']) }),
  cpu: fc.nat({ max: 4 }),
  memory: fc.constantFrom(0, 1, unlimited),
  io: fc.nat({ max: 2 }),
  processes: fc.nat({ max: 2 }),
  syscalls: fc.oneof(fc.constant('any' as const), fc.subarray(['file', 'network'])),
  capabilities: fc.subarray(['one', 'two']),
})
/** Phases in any order: looser phases may follow stricter ones. */
const phases: fc.Arbitrary<readonly Phase[]> = fc.array(
  fc.record({
    name: fc.string({ minLength: 1 }),
    for: fc.integer({ min: 1, max: 50 }),
    controls,
  }),
  { minLength: 1, maxLength: 8 },
)
const msMax = fc.integer({ min: 1, max: 300 })
const keep = fc.constantFrom(0, 0.25, 0.5, 1)
/** Inputs of a life: time passes, and some phases are advanced. */
const story = fc.array(
  fc.record({ wait: fc.integer({ min: 0, max: 40 }), advances: fc.boolean(), keep }),
  {
    maxLength: 40,
  },
)

const below = (granted: Controls, until: number) => ({ from: 0, until, granted })

/** Runs a course through its inputs; yields course, time and step after each. */
function* live(first: PhasePlan, inputs: typeof story extends fc.Arbitrary<infer T> ? T : never) {
  let life = first
  let at = 0
  yield { life, at, step: stepAt(life, at) }
  for (const input of inputs) {
    at += input.wait
    if (input.advances) life = endStepEarly(life, at, input.keep)
    yield { life, at, step: stepAt(life, at) }
  }
}

test('Closed controls never reopen, whatever the schedule and its advances', () => {
  fc.assert(
    fc.property(phases, controls, msMax, story, (phases, granted, msMax, story) => {
      let held = granted
      for (const { life, step } of live(planPhases(phases, below(granted, msMax)), story)) {
        const now = life.steps[step]?.controls ?? held
        assert(isWithin(now, held))
        held = now
      }
    }),
  )
})

test('Each phase is within its own controls and those of all phases before it', () => {
  fc.assert(
    fc.property(phases, controls, msMax, (phases, granted, msMax) => {
      planPhases(phases, below(granted, msMax)).steps.forEach(({ controls }, place) => {
        assert(isWithin(controls, granted))
        for (const phase of phases.slice(0, place + 1)) assert(isWithin(controls, phase.controls))
      })
    }),
  )
})

test('The current phase never goes back, and an advance leaves it', () => {
  fc.assert(
    fc.property(phases, msMax, story, (phases, msMax, story) => {
      let before = 0
      const first = planPhases(phases, below(allControls, msMax))
      for (const { step } of live(first, story)) {
        assert(step >= before)
        before = step
      }
      const at = Math.min(first.ends - 1, 7)
      assert(stepAt(endStepEarly(first, at, 0.5), at) > stepAt(first, at))
    }),
  )
})

test('Every life ends on time, and an advance never delays its end', () => {
  fc.assert(
    fc.property(phases, msMax, story, (phases, msMax, story) => {
      const total = phases.reduce((sum, phase) => sum + phase.for, 0)
      let ends = Math.min(total, msMax)
      for (const { life } of live(planPhases(phases, below(allControls, msMax)), story)) {
        assert(life.ends <= ends)
        assert.equal(stepAt(life, life.ends), life.steps.length)
        ends = life.ends
      }
    }),
  )
})

test('Phases follow each other without a gap', () => {
  fc.assert(
    fc.property(phases, msMax, story, (phases, msMax, story) => {
      for (const { life } of live(planPhases(phases, below(allControls, msMax)), story)) {
        let opens = 0
        for (const step of life.steps) {
          assert.equal(step.opens, opens)
          assert(step.closes >= step.opens)
          opens = step.closes
        }
        assert.equal(life.ends, opens)
      }
    }),
  )
})

test('A phase lists the controls that it tightens', () => {
  const noNetwork = { ...allControls, network: { allow: [], deny: [] } }
  const phases = [
    { name: 'full', for: 5000, controls: allControls },
    { name: 'no-network', for: 10_000, controls: noNetwork },
    { name: 'asks-again', for: 1000, controls: allControls },
  ]
  const life = planPhases(phases, below(allControls, 60_000))
  assert.deepEqual(
    life.steps.map(({ phase, opens, closes, tightens }) => [phase, opens, closes, tightens]),
    [
      ['full', 0, 5000, []],
      ['no-network', 5000, 15_000, ['network']],
      ['asks-again', 15_000, 16_000, []],
    ],
  )
  assert.deepEqual(life.steps[2]!.controls, noNetwork)
  const sooner = endStepEarly(life, 1000, 0.5)
  assert.deepEqual(
    sooner.steps.map(({ opens, closes }) => [opens, closes]),
    [
      [0, 1000],
      [1000, 6000],
      [6000, 6500],
    ],
  )
})

test('A phase without a length is caught', () => {
  const phase = { name: 'a', for: Number.NaN, controls: allControls }
  assert.throws(
    () => planPhases([phase], { from: 0, until: 100, granted: allControls }),
    /phase "a" closes before it opens/,
  )
})
