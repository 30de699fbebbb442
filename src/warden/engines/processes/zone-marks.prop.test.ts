import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import {
  zoneDepthMax,
  isMarked,
  isWithinMark,
  markWithin,
  zonesInOneMax,
  type Mark,
} from './zone-marks.ts'

const index = fc.integer({ min: 0, max: zonesInOneMax - 1 })
const place = fc.array(index, { minLength: 1, maxLength: zoneDepthMax })

const markAt = (indexes: readonly number[]) =>
  indexes.reduce<Mark | undefined>((outer, at, depth) => markWithin(outer, depth, at), undefined)!
const isIn = (found: Mark, indexes: readonly number[]) =>
  isWithinMark(found, markAt(indexes), indexes.length - 1)
const isBelow = (inner: readonly number[], outer: readonly number[]) =>
  outer.every((at, depth) => inner[depth] === at)

test('A mark is in its own zone and in the enclosing ones, and in no other', () => {
  fc.assert(
    fc.property(place, place, (a, b) => {
      assert.ok(isMarked(markAt(a)))
      assert.equal(isIn(markAt(a), b), isBelow(a, b))
    }),
  )
})

test('A process that lowers its mark reaches no sibling zone and no outer one: only an inner zone, or none', () => {
  const less = fc.integer({ min: 0, max: 2 ** 26 })
  fc.assert(
    fc.property(place, place, less, less, (own, other, rss, locks) => {
      const mark = markAt(own)
      const lowered = { rss: mark.rss - rss, locks: mark.locks - locks }
      if (isIn(lowered, other)) assert.ok(isBelow(other, own) || isBelow(own, other))
      assert.ok(isMarked(lowered), 'it is never taken for one that was in no zone')
    }),
    { numRuns: 2000 },
  )
})
