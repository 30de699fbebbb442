import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type { ObservedFact } from '../contract/anomaly.ts'
import { allControls, type Controls, isWithin, noFiles } from '../contract/controls.ts'
import { itemsMax, withRun, noBaseline, runsToLearn, sketchSlots } from './baseline.ts'
import { propose } from './propose.ts'
import { itemKinds, withObservation, noTrail } from './trail.ts'

const host = fc.constantFrom('a.example', 'b.example', '*.c.example', '10.0.0.1', 'not a host')
const seen: fc.Arbitrary<ObservedFact> = fc.oneof(
  fc.record({
    kind: fc.constant('connect' as const),
    host,
    port: fc.nat(65_535),
    sent: fc.nat(),
    received: fc.nat(),
    denied: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('memory' as const), bytes: fc.maxSafeNat() }),
  fc.record({ kind: fc.constant('processes' as const), now: fc.nat(1000) }),
  fc.record({
    kind: fc.constant('capability' as const),
    name: fc.string({ minLength: 1, maxLength: 20 }),
    denied: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('open' as const),
    path: fc.string({ maxLength: 40 }),
    access: fc.constantFrom('read' as const, 'write' as const),
    denied: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('syscall' as const),
    class: fc.constantFrom('file', 'network'),
    count: fc.nat(),
    denied: fc.boolean(),
  }),
)
const runs = fc.array(fc.array(seen, { maxLength: 60 }), { maxLength: 8 })
const grown = (all: readonly (readonly ObservedFact[])[]) =>
  all
    .map((run) => run.reduce((so, one) => withObservation(so, { seen: one }), noTrail))
    .reduce((so, trail) => withRun(so, trail), noBaseline)

const hosts = fc.subarray(['https://a.example:443', 'https://*.c.example:443', '*://b.example:*'])
const inForce: fc.Arbitrary<Controls> = fc.record({
  network: fc.record({ allow: fc.oneof(fc.constant('any' as const), hosts), deny: hosts }),
  files: fc.constantFrom(allControls.files, noFiles),
  cpu: fc.nat(4),
  memory: fc.nat(2 ** 30),
  io: fc.nat(100),
  processes: fc.nat(100),
  syscalls: fc.oneof(fc.constant('any' as const), fc.subarray(['file', 'network'])),
  capabilities: fc.oneof(fc.constant('any' as const), fc.subarray(['a', 'b'])),
})

test('A proposal is never looser than the controls in force, whatever the runs did', () => {
  let tighter = 0
  fc.assert(
    fc.property(runs, inForce, (all, inForce) => {
      const proposal = propose([grown(all)], inForce)
      assert.equal(proposal === undefined, all.length === 0)
      if (proposal === undefined) return
      assert(isWithin(proposal.controls, inForce))
      if (!isWithin(inForce, proposal.controls)) tighter++
    }),
  )
  // The controls in force would pass as a proposal too.
  assert(tighter > 0)
})

test('A baseline is bounded, and equal for equal runs', () => {
  fc.assert(
    fc.property(runs, (all) => {
      const baseline = grown(all)
      assert.deepEqual(baseline, grown(all))
      assert(baseline.runs <= runsToLearn)
      for (const kind of itemKinds) assert(Object.keys(baseline.items[kind]).length <= itemsMax)
      for (const { sketch } of Object.values(baseline.peaks)) assert(sketch.length <= sketchSlots)
    }),
  )
})

test('The order of actions in a run does not change its baseline', () => {
  fc.assert(
    fc.property(fc.array(seen, { maxLength: 60 }), (run) => {
      assert.deepEqual(grown([run]), grown([run.toReversed()]))
    }),
  )
})
