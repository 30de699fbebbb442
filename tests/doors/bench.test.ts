import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../conformance/stand.ts'
import { scripts } from '../../bench/vm2-scripts.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { test } from '../fixtures/drawn.ts'
import { documentOf, makePlace, mayfly, noOrdinaryUser } from './program.ts'

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

for (const who of ['self', 'ordinary'] as const)
  test(
    `mayfly bench that is stopped at once leaves no folder behind, as ${who}`,
    {
      skip: who === 'ordinary' && noOrdinaryUser(),
    },
    async () => {
      const place = makePlace(who)
      const TMPDIR = join(place.cwd, 'tmp')
      mkdirSync(TMPDIR)
      chmodSync(TMPDIR, 0o777)
      try {
        const ended = mayfly(place, ['bench'], {
          env: { TMPDIR },
          started: async (child) => {
            await until(() => readdirSync(TMPDIR).length > 0, 'a temporary folder')
            child.kill('SIGTERM')
          },
        })
        const { code, signal } = await ended
        assert.ok(code === 143 || signal === 'SIGTERM', `${code} ${signal}`)
        assert.ok(!readdirSync(TMPDIR).some((name) => name.startsWith('mayfly-bench-')))
      } finally {
        place.remove()
      }
    },
  )

const namespaces = findJailFacts().namespaces
const provider = findProgram('bwrap') ? 'bubblewrap' : 'embedded'
const skip = !namespaces && 'namespaces are forbidden here'

test('The bench of tightening measures each control of each tier', { skip }, () => {
  const bench = join(import.meta.dirname, '..', '..', 'bench', 'tighten.ts')
  const asked = ['--rounds', '2', '--idle', '--json', '--provider', provider]
  const { milliseconds } = JSON.parse(
    execFileSync(process.execPath, [bench, ...asked], { encoding: 'utf8', timeout: 120_000 }),
  ) as { milliseconds: { idle: Record<string, { n: number; p50: number; p99: number }> } }
  const always = ['isolate: capability', 'process: network, by its egress path', 'process: kill']
  const watched = ['exec', 'write', 'network, by its sentinel', 'new processes']
  const names = Object.keys(milliseconds.idle)
  assert.ok(always.every((name) => names.includes(name)))
  if (findProgram('cc')) assert.ok(watched.every((name) => names.includes(`process: ${name}`)))
  for (const { n, p50, p99 } of Object.values(milliseconds.idle))
    assert.ok(n === 2 && p50 > 0 && p99 >= p50)
})

test('S3-38: the bench of scripts prints the ratio to vm2 of each script, and their mean', () => {
  const bench = join(import.meta.dirname, '..', '..', 'bench', 'vm2.ts')
  const { stdout, stderr } = spawnSync(process.execPath, [bench, '--rounds', '1', '--json'], {
    encoding: 'utf8',
    timeout: 120_000,
  })
  const ratios = (JSON.parse(stdout || `"${stderr}"`) as Record<string, object>)['mayfly / vm2']
  assert.ok(ratios, stderr)
  assert.deepEqual(Object.keys(ratios), [...Object.keys(scripts), 'mean'])
  for (const ratio of Object.values(ratios)) assert.ok(typeof ratio === 'number' && ratio > 0)
})

test('The bench of a burst prints when the last job ended, and how many were refused', () => {
  const bench = join(import.meta.dirname, '..', '..', 'bench', 'burst.ts')
  const asked = ['--jobs', '6', '--seconds', '1', '--languages', 'js', '--json']
  const { js } = JSON.parse(
    execFileSync(process.execPath, [bench, ...asked], { encoding: 'utf8', timeout: 120_000 }),
  ) as { js: { first: string; overMs: number; ends: Record<string, number> } }
  assert.deepEqual([js.first, js.ends], ['ok', { ok: 6 }])
  assert.ok(js.overMs >= 1000)
})
