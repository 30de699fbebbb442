import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { sampledRuns } from '../../tests/fixtures/drawn.ts'
import { callClasses } from '../contract/calls.ts'
import {
  allControls,
  canonicalControls,
  isWithin,
  meet,
  unlimited,
  type Controls,
} from '../contract/controls.ts'
import type { Phase } from '../contract/phase.ts'
import { surfaceBeyond, surfaceOf } from './surface.ts'
import { wallCalls } from './wall-calls.ts'

const runs = sampledRuns(2000, import.meta.filename)
const hosts = fc.subarray(['https://a.example:443', 'https://*.b.example:443', '*://c.example:80'])
const classes = fc.oneof(fc.constant('any' as const), fc.subarray([...callClasses]))
const controls: fc.Arbitrary<Controls> = fc.record({
  network: fc.record({ allow: fc.oneof(fc.constant('any' as const), hosts), deny: hosts }),
  files: fc.record({ read: fc.subarray(['/', '/a', '/a/b']), write: fc.subarray(['/', '/a']) }),
  cpu: fc.nat({ max: 4 }),
  memory: fc.constantFrom(0, 1, unlimited),
  io: fc.nat({ max: 2 }),
  processes: fc.nat({ max: 2 }),
  syscalls: classes,
  capabilities: fc.oneof(fc.constant('any' as const), fc.subarray(['one', 'two'])),
})
const wall = fc
  .tuple(fc.constantFrom('isolate' as const, 'process' as const), fc.boolean())
  .map(([tier, hasSentinel]) => wallCalls(tier, hasSentinel))
const phaseOf = (own: Controls, place: number): Phase => ({
  name: `p${place}`,
  for: 10,
  controls: canonicalControls(own),
})

test('S2-26: each phase of a closing schedule reaches no more than the one before', () => {
  fc.assert(
    fc.property(
      controls,
      fc.array(controls, { minLength: 1, maxLength: 5 }),
      wall,
      (granted, all, calls) => {
        let held = canonicalControls(granted)
        const phases = all.map((own, place) => phaseOf((held = meet(held, own)), place))
        const surfaces = surfaceOf(granted, { phases }, calls)
        assert.equal(surfaces.length, phases.length)
        surfaces.slice(1).forEach((next, place) => {
          const before = surfaces[place]!
          assert.deepEqual(surfaceBeyond(next, before), [])
          assert.equal(next.from, before.to)
          assert.ok(next.calls.reachable <= before.calls.reachable)
          assert.ok(before.calls.closed.every((name) => next.calls.closed.includes(name)))
          for (const name of ['cpu', 'memory', 'io', 'processes'] as const)
            assert.ok(next.limits[name] <= before.limits[name])
        })
      },
    ),
    { numRuns: runs },
  )
})

test('S2-26: anything that would reopen is listed by name', () => {
  const calls = wallCalls('process', true)
  fc.assert(
    fc.property(controls, controls, (a, b) => {
      const [before, next] = surfaceOf(allControls, { phases: [a, b].map(phaseOf) }, calls)
      const rest = (own: Controls) => ({ ...canonicalControls(own), syscalls: 'any' as const })
      const grown = surfaceBeyond(next!, before!)
      const ofCalls = grown.filter((name) => name.startsWith('system call'))
      assert.equal(grown.length === ofCalls.length, isWithin(rest(b), rest(a)))
      const reopened = before!.calls.closed.filter((name) => !next!.calls.closed.includes(name))
      assert.equal(ofCalls.length > 0, reopened.length > 0)
    }),
    { numRuns: runs },
  )
})

test('S2-26: closing a class removes its calls, and a wall that cannot close it reports that', () => {
  const held = { ...allControls, syscalls: ['network', 'outside', 'process', 'write'] }
  const phases = [allControls, held].map(phaseOf)
  const [first, second] = surfaceOf(allControls, { phases }, wallCalls('process', true))
  assert.ok('execve' in first!.calls.of && !('execve' in second!.calls.of))
  assert.deepEqual([second!.calls.closed, second!.calls.unheld], [['exec'], []])
  const without = surfaceOf(allControls, { phases }, wallCalls('process', false))[1]!
  assert.ok('execve' in without.calls.of)
  assert.deepEqual([without.calls.closed, without.calls.unheld], [[], ['exec']])
})
