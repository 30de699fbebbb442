import assert from 'node:assert/strict'
import { test } from 'node:test'
import { documentOf, makePlace, mayfly } from './program.ts'

test('mayfly bench prints figures of each wall beside those of a plain process', async () => {
  const place = makePlace()
  try {
    const { tiers, baseline } = documentOf(
      await mayfly(place, ['bench', '--rounds', '3', '--json']),
    )
    const kinds: Record<string, any> = tiers.isolate
    assert.deepEqual(Object.keys(kinds), ['pooled', 'empty', 'saturated', 'wasm'])
    for (const { p50, p99, n } of [...Object.values(kinds), baseline['node process']])
      assert.ok(n >= 3 && p50 > 0 && p99 >= p50)
  } finally {
    place.remove()
  }
})
