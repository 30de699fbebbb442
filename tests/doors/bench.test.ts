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
    const programs: Record<string, any> = tiers.process ?? {}
    for (const [language, figures] of Object.entries(programs) as [string, Record<string, any>][]) {
      assert.ok(['node', 'python'].includes(language))
      for (const kind of ['empty', 'saturated'])
        assert.ok(figures[kind].n >= 1 && figures[kind].p99 >= figures[kind].p50)
    }
    assert.equal('python' in programs, 'python process' in baseline)
    const rows = documentOf(await mayfly(place, ['providers', '--json'])) as unknown as {
      readonly tier: string
      readonly available: boolean
    }[]
    const isThere = rows.some(({ tier, available }) => tier === 'process' && available)
    assert.equal('node' in programs, isThere)
  } finally {
    place.remove()
  }
})
