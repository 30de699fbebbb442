import assert, { AssertionError } from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sampledRuns } from '../../tests/fixtures/drawn.ts'
import { allControls, isWithin, noNetwork, unlimited, type Controls } from '../contract/controls.ts'
import type { Phase, Schedule, ZoneSchedule } from '../contract/phase.ts'
import { mainZone } from '../contract/phase.ts'
import {
  assertForward,
  initialState,
  initialStateOf,
  type LifeAction,
  type LifeInput,
  type Life,
  nextState,
  nextAt,
  mainOf,
  type ZoneState,
} from './schedule.ts'

const lives = sampledRuns(10_000, import.meta.filename)
const fewer = 2000
const zones = ['a', 'b', 'c']

const hosts = fc.subarray(['https://a.example:443', 'https://*.b.example:443'])
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
  fc.record({ name: fc.constantFrom('x', 'y'), for: fc.integer({ min: 1, max: 50 }), controls }),
  { minLength: 1, maxLength: 5 },
)
const reaction = fc.constantFrom(
  ...(['record', 'advance', 'tighten', 'freeze', 'capture', 'terminate'] as const),
)
const plan: fc.Arbitrary<ZoneSchedule> = fc.record(
  {
    phases,
    onAnomaly: fc.record({ low: reaction, medium: reaction, high: reaction }),
    shorten: fc.constantFrom(0, 0.25, 0.5, 1),
    clock: fc.constant('cpu' as const),
  },
  { requiredKeys: ['phases', 'onAnomaly', 'shorten'] },
)
const schedule: fc.Arbitrary<Schedule> = plan.map((one) => ({ name: 'random', ...one }))

/** Inputs of a life; a negative `wait` is a late or reordered one. */
type LifeInputWithoutTime = LifeInput extends infer One
  ? One extends unknown
    ? Omit<One, 'at'>
    : never
  : never
type TimedInput = { readonly wait: number; readonly input: LifeInputWithoutTime }

const zone = fc.constantFrom(mainZone, mainZone, 'a', 'b', 'c', 'never-seen')
const order = fc.nat({ max: 6 })
const reason = fc.constant('because')
const input: fc.Arbitrary<LifeInputWithoutTime> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('time' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('zone' as const),
      zone: fc.constantFrom(...zones),
      schedule: fc.option(plan, { nil: undefined }),
    }),
  },
  fc.record({ kind: fc.constant('cpu' as const), zone, cpu: fc.nat({ max: 200 }) }),
  fc.record({ kind: fc.constant('advance' as const), zone, reason }),
  fc.record({
    kind: fc.constant('anomaly' as const),
    zone,
    severity: fc.constantFrom('low' as const, 'medium' as const, 'high' as const),
    reason,
  }),
  fc.record({ kind: fc.constant('tighten' as const), zone, to: controls }),
  fc.record({
    kind: fc.constant('terminate' as const),
    zone: fc.constantFrom('a', 'b', mainZone),
    reason,
  }),
  fc.record({ kind: fc.constant('gone' as const), zone }),
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('held' as const), zone, order }) },
  fc.record({ kind: fc.constant('unheld' as const), zone, order, why: reason }),
)
const story: fc.Arbitrary<readonly TimedInput[]> = fc.array(
  fc.record({ wait: fc.integer({ min: -10, max: 30 }), input }),
  { maxLength: 25 },
)
const msMax = fc.integer({ min: 1, max: 300 })

/** Runs a life; yields each state with its actions. */
function* live(
  schedule: Schedule,
  granted: Controls,
  msMax: number,
  inputs: readonly TimedInput[],
) {
  let { life, actions } = initialState(schedule, granted, msMax)
  yield { life, actions }
  for (const { wait, input } of inputs) {
    ;({ life, actions } = nextState(life, { ...input, at: life.at + wait }))
    yield { life, actions, refused: input.kind === 'unheld' ? input.zone : undefined }
  }
}

/** Checks a property over many lives; a failure prints its seed and path. */
function overLives(
  numRuns: number,
  holds: (all: [Schedule, Controls, number, readonly TimedInput[]]) => void,
): void {
  const given = process.env['MAYFLY_SEED']
  const settings = { numRuns, ...(given !== undefined && { seed: Number(given) }) }
  fc.assert(fc.property(fc.tuple(schedule, controls, msMax, story), holds), settings)
}

/** Two walls: one applies each order, and one applies the meet of all orders so far. */
class Wall {
  readonly ordered = new Map<string, Controls>()
  readonly ended = new Set<string>()

  constructor(granted: Controls) {
    this.ordered.set(mainZone, granted)
  }

  /** `refused`: the zone whose order was not held, which alone gets the same order again. */
  obey({ zones }: Life, actions: readonly LifeAction[], refused?: string): void {
    for (const act of actions) {
      assert(!this.ended.has(act.zone) && !this.ended.has(mainZone), 'something came after the end')
      if (act.kind === 'end') this.ended.add(act.zone)
      if (act.kind === 'close') this.#close(act.zone, act.controls, refused)
    }
    for (const [zone, { controls }] of zones)
      if (!this.ordered.has(zone)) this.ordered.set(zone, controls)
  }

  #close(zone: string, to: Controls, refused?: string): void {
    const before = this.ordered.get(zone) ?? this.ordered.get(mainZone)!
    assert(isWithin(to, before), `zone "${zone}" was widened`)
    assert(isWithin(to, this.ordered.get(mainZone)!), `zone "${zone}" may more than the whole`)
    assert(zone === refused || !isWithin(before, to), 'an order closes nothing')
    this.ordered.set(zone, to)
  }
}

test('S2-24: in ten thousand lives with random inputs in random order no closed control reopens', () => {
  let [closed, beside] = [0, 0]
  overLives(lives, ([schedule, granted, msMax, inputs]) => {
    const wall = new Wall(granted)
    let held = new Map<string, Controls>()
    for (const { life, actions, refused } of live(schedule, granted, msMax, inputs)) {
      wall.obey(life, actions, refused)
      closed += actions.filter(({ kind }) => kind === 'close').length
      const main = mainOf(life).controls
      for (const [zone, { controls, end }] of life.zones) {
        assert(isWithin(controls, held.get(zone) ?? granted))
        if (end || mainOf(life).end) continue
        assert(isWithin(controls, main))
        if (zone !== mainZone) beside++
      }
      held = new Map([...life.zones].map(([zone, strand]) => [zone, strand.controls]))
    }
  })
  // Lives that close nothing, or have no zone beside the main one, would pass too.
  assert(closed > 0 && beside > 0)
})

test('Each zone is within its own phases, its tighten orders, and the controls of main', () => {
  overLives(fewer, ([schedule, granted, msMax, inputs]) => {
    for (const { life } of live(schedule, granted, msMax, inputs)) {
      if (mainOf(life).end) break
      const { ceiling } = mainOf(life)
      for (const { plan, stepIndex, controls, end, ceiling: own } of life.zones.values()) {
        if (end) continue
        assert(
          isWithin(controls, own) && isWithin(controls, ceiling) && isWithin(controls, granted),
        )
        for (const step of plan.steps.slice(0, stepIndex + 1))
          assert(isWithin(controls, step.controls))
      }
    }
  })
})

test('Every life ends on time, once and with all its zones, and no input delays its end', () => {
  overLives(lives, ([schedule, granted, msMax, inputs]) => {
    const total = schedule.phases.reduce((sum, phase) => sum + phase.for, 0)
    let ends = Math.min(total, msMax)
    const over = new Map<string, number>()
    let last: Life | undefined
    for (const { life, actions } of live(schedule, granted, msMax, inputs)) {
      assert(mainOf(life).plan.ends <= ends)
      ends = mainOf(life).plan.ends
      for (const { zone, plan } of life.zones.values())
        assert(zone === mainZone || plan.ends <= Math.min(total, msMax))
      for (const act of actions)
        if (act.kind === 'end') over.set(act.zone, (over.get(act.zone) ?? 0) + 1)
      last = life
    }
    const waits = { life: last!, count: 0 }
    for (let at = nextAt(waits.life); at !== undefined; at = nextAt(waits.life)) {
      const turn = nextState(waits.life, { kind: 'time', at })
      for (const act of turn.actions)
        if (act.kind === 'end') over.set(act.zone, (over.get(act.zone) ?? 0) + 1)
      waits.life = turn.life
      assert((waits.count += 1) <= 30, 'it does not come to an end by time alone')
    }
    assert(mainOf(waits.life).end && waits.life.at <= Math.max(ends, last!.at))
    assert.equal(over.get(mainZone), 1)
    for (const count of over.values()) assert.equal(count, 1)
  })
})

test('Late confirmations and those of superseded orders leave controls unconfirmed', () => {
  overLives(fewer, ([schedule, granted, msMax, inputs]) => {
    let { life } = initialState(schedule, granted, msMax)
    for (const { wait, input } of inputs) {
      const before = life
      ;({ life } = nextState(life, { ...input, at: life.at + wait }))
      for (const [zone, { unconfirmed, order, end }] of life.zones) {
        const old = before.zones.get(zone)
        if (!old || end || mainOf(life).end) continue
        const isHeld = input.kind === 'held' && input.zone === zone && input.order === old.order
        assert(order > old.order || isHeld || unconfirmed.length === old.unconfirmed.length)
        assert(order === old.order || unconfirmed.length > 0)
      }
    }
  })
})

test('An order that the wall did not hold is given again as the next phase opens, which may be no stricter', () => {
  const open = { name: 'one', for: 10, controls: allControls }
  const onAnomaly = { low: 'record', medium: 'record', high: 'record' } as const
  const phases = [open, { ...open, name: 'two' }]
  const rules = { name: 'r', phases, onAnomaly, shorten: 1 }
  const told = (actions: readonly LifeAction[]) =>
    actions.map((act) =>
      act.kind === 'close' ? [act.phase, act.closing, act.order] : [act.kind, act.zone],
    )
  const { life } = initialState(rules, allControls, 100)
  const to = { ...allControls, network: noNetwork }
  const ordered = nextState(life, { kind: 'tighten', zone: mainZone, to, at: 1 })
  assert.deepEqual(told(ordered.actions), [['one', ['network'], 1]])
  const unheld = { kind: 'unheld', zone: mainZone, why: 'played' } as const
  const again = nextState(ordered.life, { ...unheld, order: 1, at: 2 })
  assert.deepEqual(told(again.actions).slice(-1), [['two', ['network'], 2]])
  const last = again.actions.at(-1)
  assert.deepEqual(last?.kind === 'close' && last.controls, to)
  const over = nextState(again.life, { ...unheld, order: 2, at: 3 })
  assert.equal(mainOf(over.life).end?.status, 'terminated')
})

test('Phases never go back, and an ended zone never begins again', () => {
  overLives(fewer, ([schedule, granted, msMax, inputs]) => {
    let before: Life | undefined
    for (const { life } of live(schedule, granted, msMax, inputs)) {
      for (const [zone, old] of before?.zones ?? []) {
        const now = life.zones.get(zone)!
        assert(now.stepIndex >= old.stepIndex && life.at >= before!.at)
        if (old.end) assert.equal(now.end, old.end)
      }
      before = life
    }
  })
})

test('Replaying a life gives the same states and actions', () => {
  fc.assert(
    fc.property(schedule, controls, msMax, story, (schedule, granted, msMax, inputs) => {
      const once = [...live(schedule, granted, msMax, inputs)]
      assert.deepEqual([...live(schedule, granted, msMax, inputs)], once)
    }),
    { numRuns: 300 },
  )
})

test('No control is looser than what all phases so far allow, when all controls are granted', () => {
  const shut = { ...allControls, cpu: 1 }
  const one = { name: 'one', for: 10, controls: shut }
  const onAnomaly = { low: 'tighten', medium: 'advance', high: 'terminate' } as const
  const rules = { name: 'r', phases: [one, { ...one, name: 'two' }], onAnomaly, shorten: 1 }
  const { actions } = initialState(rules, allControls, 100)
  assert.deepEqual(
    actions.map((act) => (act.kind === 'close' ? [act.phase, act.closing, act.order] : act.kind)),
    [['one', ['cpu'], 1]],
  )
})

test('A life that moves backwards in any respect fails an assertion', () => {
  const { life } = initialState(sample, { ...allControls, cpu: 1 }, 100)
  const main = mainOf(life)
  const later = { ...life, at: 1 }
  const changed = (change: Partial<ZoneState>): Life => ({
    at: 1,
    zones: new Map([[mainZone, { ...main, ...change }]]),
  })
  assertForward(life, later)
  const end = { status: 'timeout' } as const
  const faults: readonly (readonly [before: Life, after: Life, why: RegExp])[] = [
    [later, life, /time went back/],
    [life, { ...later, zones: new Map() }, /is missing/],
    [changed({ stepIndex: 1 }), later, /an earlier phase/],
    [life, changed({ plan: { ...main.plan, ends: 1000 } }), /later than planned/],
    [changed({ order: 5 }), later, /took back an order/],
    [changed({ end }), later, /began again/],
    [life, changed({ controls: allControls }), /opened cpu/],
    [life, changed({ ceiling: allControls }), /opened cpu/],
  ]
  for (const [before, after, message] of faults)
    assert.throws(() => assertForward(before, after), { name: 'AssertionError', message })
})

test('Lives of one frozen profile share its first state, and no input of theirs changes it', () => {
  overLives(fewer, ([schedule, granted, timeout, inputs]) => {
    const profile = Object.freeze({ schedule, controls: granted, limits: { timeout } as never })
    const first = initialStateOf(profile)
    let { life } = first
    for (const { wait, input } of inputs)
      ({ life } = nextState(life, { ...input, at: life.at + wait }))
    assert.equal(initialStateOf(profile), first)
    assert.deepEqual(first, initialState(schedule, granted, timeout))
    assert.notEqual(initialStateOf({ ...profile }), first, 'that profile may change')
  })
})

test('An input after which a plan would end later is caught before its actions are carried out', () => {
  const { life } = initialState(sample, allControls, 100)
  const main = mainOf(life)
  const broken = { ...main, plan: { ...main.plan, ends: 1 } }
  const input = { kind: 'advance', zone: mainZone, reason: 'test', at: 5 } as const
  assert.throws(
    () => nextState({ ...life, zones: new Map([[mainZone, broken]]) }, input),
    AssertionError,
  )
})

const sample: Schedule = {
  name: 'sample',
  phases: [
    { name: 'one', for: 10, controls: allControls },
    { name: 'two', for: 10, controls: allControls },
  ],
  onAnomaly: { low: 'record', medium: 'record', high: 'record' },
  shorten: 1,
}
