import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makePlace } from '../doors/program.ts'
import { isSampled } from '../fixtures/drawn.ts'
import { differences } from './compare.ts'
import { hasPackages, packagesFolder, programs, sample, type Program } from './corpus.ts'
import { explained } from './explained.ts'
import { runInside } from './inside.ts'
import { runOutside } from './outside.ts'

/**
 * The corpus inside Mayfly and outside, by the real command. `MAYFLY_LONG` runs all of it on each wall;
 * otherwise a sample drawn by a printed seed.
 */
const seed = Number(process.env['MAYFLY_SEED'] ?? Date.now() % 2 ** 31)
const isLong = process.env['MAYFLY_LONG'] !== undefined
const sampleSize = isSampled ? 8 : 36
const sampleSizeEmbedded = isSampled ? 3 : 12
/** Minimum share of equal ends, of the whole corpus. */
const sameShareMin = 0.98
const installMsMax = 300_000
const installTriesMax = 3
const installPauseMs = 5_000
const atATime = 2

const all = programs()
const place = makePlace()

suite('Programs end inside a sandbox as they do outside', { concurrency: false }, () => {
  before(() => installPackages())
  after(() => place.remove())

  for (const [wall, count] of [
    ['bubblewrap', sampleSize],
    ['embedded', sampleSizeEmbedded],
  ] as const) {
    test(`with ${wall} for those that need a process`, async (t) => {
      t.diagnostic(`MAYFLY_SEED=${seed}`)
      if (wall === 'bubblewrap' && !isOnPath('bwrap')) return t.skip('bubblewrap is missing')
      const chosen = (isLong ? all : sample(all, count, seed)).filter(canRun)
      const differing = new Map<string, readonly string[]>()
      await each(chosen, async (program) => {
        const found = await compare(program, flagsFor(wall))
        if (found.length > 0) differing.set(program.name, found)
      })
      for (const [name, found] of differing) t.diagnostic(`${name}: ${found.join('; ')}`)
      const unexplained = [...differing.keys()].filter((name) => !explained.has(name))
      assert.deepEqual(
        unexplained.map((name) => [name, ...differing.get(name)!]),
        [],
      )
      const share = 1 - differing.size / chosen.length
      if (isLong) assert.ok(share >= sameShareMin, `${share} of ${chosen.length} end as outside`)
    })
  }

  test('The explained differences are few and name programs of the corpus', () => {
    const names = new Set(all.map(({ name }) => name))
    assert.deepEqual(
      [...explained.keys()].filter((name) => !names.has(name)),
      [],
    )
    assert.ok(explained.size <= all.length * (1 - sameShareMin))
  })
})

/** Without a floor, so that programs that need no process run in an isolate. */
/** Packages that analysis cannot clear are no less at home in a weaker wall than the default escalation asks for. */
function flagsFor(wall: 'bubblewrap' | 'embedded'): readonly string[] {
  const file = join(place.cwd, 'lenient.toml')
  writeFileSync(file, '[escalation]\n0 = "isolate"\n')
  const own = wall === 'embedded' ? ['--provider', 'embedded'] : []
  return [...own, '--config', file]
}

async function compare(program: Program, flags: readonly string[]): Promise<readonly string[]> {
  const outside = await runOutside(program)
  try {
    return differences(program, outside, await runInside(place, program, flags))
  } catch (error) {
    return [`no outcome: ${String(error).slice(0, 500)}`]
  }
}

/** Runs all, a few at a time. */
async function each<T>(list: readonly T[], act: (one: T) => Promise<void>): Promise<void> {
  const left = [...list]
  const worker = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await act(one)
  }
  await Promise.all(Array.from({ length: atATime }, worker))
}

/** With `CI=true` a missing program fails the run earlier. */
function canRun({ packages, name }: Program): boolean {
  if (packages.length > 0) return hasPackages()
  return !name.startsWith('python/') || hasPythonLibraries
}

const hasPythonLibraries =
  spawnSync('/usr/bin/python3', ['-c', 'import numpy, pandas, matplotlib, PIL, requests'], {
    stdio: 'ignore',
  }).status === 0

function isOnPath(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0
}

/**
 * From the lock file of the corpus; without a registry the programs that import packages are left out. A registry may
 * refuse a burst of requests for a moment.
 */
async function installPackages(): Promise<void> {
  for (let tries = 1; !hasPackages(); tries++) {
    try {
      execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
        cwd: packagesFolder,
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: installMsMax,
      })
    } catch (error) {
      if (process.env['CI'] !== 'true') return
      if (tries === installTriesMax) throw error
      await sleep(installPauseMs)
    }
  }
}
