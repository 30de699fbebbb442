import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { isSampled } from '../fixtures/drawn.ts'
import { Trap } from './bait.ts'
import type { Target } from './bite.ts'
import { bite, targets } from './bite.ts'
import type { Case, Family } from './case.ts'
import { families } from './case.ts'
import { allCases, corpus } from './corpus.ts'
import { inParallel, sample, seedOfCounts as seed } from './sample.ts'

/**
 * The same corpus against node:vm, vm2 and bare isolated-vm in typical use. A corpus that breaks none of them
 * proves nothing. A full run takes some seven minutes, so a fixed sample runs unless MAYFLY_LONG is set;
 * MAYFLY_SEED selects another.
 */
const long = process.env['MAYFLY_LONG'] !== undefined
const perFamily = long ? Infinity : isSampled ? 2 : 4
const atATime = 5
/** Time limit of a target in the test of escapes: none of them is about time, and a busy machine is slow. */
const escapeLimitMs = 3_000

/**
 * Minimum number of cases that each target fails to contain. Full runs on two cores found 213, 114 and 72 of
 * 468; the number depends on how fast a bomb grows within the time limit.
 */
const bittenMin: Record<Target, number> = long
  ? { 'node-vm': 140, vm2: 70, 'bare-isolated-vm': 40 }
  : { 'node-vm': 6, vm2: 2, 'bare-isolated-vm': 1 }

const honest: Case = {
  name: 'honest',
  family: 'result',
  because: 'a control: what is contained must be seen to be contained',
  expect: ['ok'],
  code: `console.log('hello'); await new Promise((d) => queueMicrotask ? d() : d()); return input.list.map((x) => x * 2)`,
}

let trap: Trap
before(async () => {
  trap = await Trap.set()
})
after(() => trap[Symbol.asyncDispose]())

test('An honest program is contained by all three: the measure has no false positives', async () => {
  for (const target of targets) assert.equal(await bite(target, honest, trap), undefined, target)
})

test('The corpus breaks node:vm, vm2 and bare isolated-vm', async (t) => {
  const cases = families.flatMap((family) => sample(runnable(corpus[family]), perFamily, seed))
  const bitten = new Map<Case, Partial<Record<Target, string>>>()
  await inParallel(cases, atATime, async (hostile) => {
    bitten.set(hostile, await biteAll(hostile))
  })
  for (const line of table(bitten)) t.diagnostic(line)
  if (long) for (const line of details(bitten)) t.diagnostic(line)
  for (const target of targets) {
    const count = [...bitten.values()].filter((by) => by[target]).length
    assert.ok(count >= bittenMin[target], `${target}: ${count} of ${cases.length}, seed ${seed}`)
  }
})

test('Every escape that is no regression guard breaks at least one of them', async () => {
  const escapes = runnable(allCases.filter(({ family, guard }) => family === 'escape' && !guard))
  await inParallel(
    sample(escapes, long ? Infinity : isSampled ? 4 : 16, seed),
    atATime,
    async (hostile) => {
      const by = await biteAll(hostile, escapeLimitMs)
      assert.ok(Object.keys(by).length > 0, `"${hostile.name}" bites nobody, seed ${seed}`)
    },
  )
})

/** The targets support neither modules nor TypeScript. */
function runnable(cases: readonly Case[]): readonly Case[] {
  return cases.filter(({ entry, language }) => entry !== 'module' && language !== 'ts')
}

async function biteAll(hostile: Case, limitMs?: number): Promise<Partial<Record<Target, string>>> {
  const found: Partial<Record<Target, string>> = {}
  for (const target of targets) {
    const why = await bite(target, hostile, trap, limitMs)
    if (why) found[target] = why
  }
  return found
}

type Bitten = ReadonlyMap<Case, Partial<Record<Target, string>>>

function table(bitten: Bitten): readonly string[] {
  const rowOf = (family?: Family): string =>
    row(
      family ?? 'all',
      targets.map((target) => tally(bitten, target, family)),
    )
  return [
    `not contained, seed ${seed}:`,
    row('', targets),
    ...families.map((family) => rowOf(family)),
    rowOf(),
  ]
}

function tally(bitten: Bitten, target: Target, family?: Family): string {
  const cases = [...bitten].filter(([hostile]) => !family || hostile.family === family)
  return `${cases.filter(([, by]) => by[target]).length} of ${cases.length}`
}

function row(name: string, cells: readonly string[]): string {
  return `${name.padEnd(10)}${cells.map((cell) => cell.padStart(18)).join('')}`
}

function details(bitten: Bitten): readonly string[] {
  return [...bitten].map(
    ([{ name }, by]) =>
      `${name}: ${targets.map((target) => `${target} ${by[target] ?? 'contained'}`).join(' | ')}`,
  )
}
