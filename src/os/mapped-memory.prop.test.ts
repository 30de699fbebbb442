import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { mergeRuns, type PageRun } from './mapped-memory.ts'

const run = fc.record({ first: fc.nat({ max: 60 }), count: fc.integer({ min: 1, max: 20 }) })

test('Merged runs cover the same pages, each once and in ascending order, with at most as many pages a run as allowed', () => {
  fc.assert(
    fc.property(fc.array(run), fc.integer({ min: 1, max: 8 }), (runs, countMax) => {
      const merged = mergeRuns(runs, countMax)
      const pages = merged.flatMap(pagesOf)
      assert.deepEqual(
        pages,
        [...new Set(runs.flatMap(pagesOf))].sort((a, b) => a - b),
      )
      for (const { count } of merged) assert.ok(count >= 1 && count <= countMax)
    }),
  )
})

function pagesOf({ first, count }: PageRun): readonly number[] {
  return Array.from({ length: count }, (_, n) => first + n)
}
