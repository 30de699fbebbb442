/** Entry point for people and CI: `npm run ci -- WORD [NAME]`. Needs Node 26, which npm finds in node_modules/.bin. */
import { availableParallelism } from 'node:os'
import { type Halves, sampledHalves, wholeAs, wholeHalves } from './halves.ts'
import { ordinaryUser } from './ordinary-user.ts'
import { installDebianPackages } from './debian-packages.ts'
import { lanesOf, sharesOf } from './lanes.ts'
import { here, type Place, runProgram } from './place.ts'
import { commitFaults, commitsIn } from './commits.ts'
import { type Counts, nothingCounted, plus } from './counts.ts'
import { type Pass, runSideBySide, runTests } from './run-tests.ts'
import { filesOf, isQuick, type SuiteName, suiteNames } from './suites.ts'
import { treeSeed } from './tree-seed.ts'

const processors = Math.min(2, availableParallelism())
/** Suites whose files have a process each. */
const inProcesses = ['walls', 'doors'] as const

type Step = readonly [name: string, run: () => Promise<Counts>]

const words: Record<string, (name?: string) => readonly Step[]> = {
  smoke: () => [...checks(), commits(), suite('unit', { env: seeded(), takes: isQuick })],
  commits: (range) => [commits(range)],
  types: () => [types()],
  ...Object.fromEntries(
    suiteNames.map((name) => [name, (only?: string) => [suite(name, { only })]]),
  ),
  unit: (only) => named('unit', only, {}),
  whole: () => tests(seeded(), wholeHalves),
  long: () => tests({ MAYFLY_LONG: '1' }, wholeHalves),
  coverage: (only) => named('unit', only, { coverage: true }),
  bench: (only) => filesOf('bench', only).map((file) => tool(file, 'node', file)),
  packages: () => [['packages', installDebianPackages]],
  test: () => [...beside(['packages', installDebianPackages], checks()), ...tests(seeded())],
}

const [word = '', name] = process.argv.slice(2)
const steps = words[word]?.(name)
if (steps) await runAll(steps)
else {
  console.error(`Usage: npm run ci -- ${Object.keys(words).join(' | ')} [NAME]`)
  process.exitCode = 2
}

async function runAll(all: readonly Step[]): Promise<void> {
  const total = await runInOrder(all)
  const isNothingSoCalled = name !== undefined && total.passed + total.failed === 0
  if (total.failed > 0 || isNothingSoCalled) process.exitCode = 1
  const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
  console.log(`${total.passed} passed, ${total.failed} failed${skipped}`)
}

/** Continues after a failing step, so that later steps are reported too. */
async function runInOrder(all: readonly Step[]): Promise<Counts> {
  let total = nothingCounted
  for (const [title, run] of all) {
    console.log(`── ${title}`)
    const start = performance.now()
    const counts = await run()
    const verdict = counts.failed === 0 ? 'ok' : `FAILED (${counts.failed})`
    const seconds = ((performance.now() - start) / 1000).toFixed(1)
    console.log(`── ${title}: ${verdict}, ${counts.passed} passed, ${seconds} s\n`)
    total = plus(total, counts)
  }
  return total
}

function checks(): readonly Step[] {
  return [types(), tool('lint', 'oxlint'), tool('format', 'oxfmt', '--check')]
}

/** Files that have not changed since the run before, nor anything that they import, are not checked again. */
function types(): Step {
  const known = 'node_modules/.cache/types.tsbuildinfo'
  return tool('types', 'tsc', '--noEmit', '--incremental', '--tsBuildInfoFile', known)
}

/** Begins a step that waits for the network with the others, which need the processors, and reports it after them. */
function beside([title, run]: Step, others: readonly Step[]): readonly Step[] {
  let begun: Promise<Counts> | undefined
  const begin = () => (begun ??= run())
  return [
    ...others.map(([name, work]): Step => {
      const withIt = () => {
        begin().catch(() => undefined)
        return work()
      }
      return [name, withIt]
    }),
    [title, begin],
  ]
}

/** Commit messages are checked here only: a checkout without history has none. */
function commits(range?: string): Step {
  return [
    'commits',
    () => {
      const all = commitsIn(range)
      const faults = commitFaults(all)
      for (const fault of faults) console.log(fault)
      const passed = faults.length === 0 ? 1 : 0
      return Promise.resolve({ ...nothingCounted, passed, failed: faults.length })
    },
  ]
}

function tool(title: string, ...command: readonly string[]): Step {
  return [
    title,
    async () => ({
      ...nothingCounted,
      [(await runProgram(here, command)) ? 'passed' : 'failed']: 1,
    }),
  ]
}

interface SuiteOptions {
  readonly place?: Place
  readonly only?: string | undefined
  readonly coverage?: boolean
  readonly env?: Readonly<Record<string, string>>
  /** Filter of test files. */
  readonly takes?: (file: string) => boolean
}

function suite(suiteName: SuiteName, options: SuiteOptions = {}): Step {
  const { place = here, only, coverage = false, env = {}, takes = () => true } = options
  // Pure tests share a process (35 times faster); tests that touch the kernel get one per file.
  const isShared = suiteName === 'unit' || suiteName === 'sim'
  const { files: found, title } = testsOf(suiteName, only)
  const files = found.filter(takes)
  const lanes = isShared ? sharesOf(files, coverage ? 1 : processors) : lanesOf(files)
  return [
    only ? `${suiteName} ${only}` : suiteName,
    () =>
      runTests({
        place: { ...place, env: { ...place.env, ...env } },
        lanes,
        ...(title !== undefined && { title }),
        isShared,
        coverage,
      }),
  ]
}

/** Tests matching a name, each run as in its own suite. */
function named(usual: SuiteName, only: string | undefined, options: SuiteOptions): readonly Step[] {
  const having = suiteNames.filter((name) => only !== undefined && filesOf(name, only).length > 0)
  return (having.length > 0 ? having : [usual]).map((name) => suite(name, { ...options, only }))
}

/** Selects files by path; if none matches, tests by title. */
function testsOf(
  suiteName: SuiteName,
  only: string | undefined,
): { readonly files: readonly string[]; readonly title?: string } {
  const files = filesOf(suiteName, only)
  if (files.length > 0 || only === undefined) return { files }
  return { files: filesOf(suiteName), title: only }
}

/**
 * Runs the suites as root and as an ordinary user, whose environments differ. MAYFLY_HALF tells tests which one, so
 * that none drops privileges by itself when all are run that way anyway.
 */
function tests(
  env: Readonly<Record<string, string>>,
  halvesOf: (files: readonly string[]) => Halves = sampledHalves,
): readonly Step[] {
  if (process.getuid?.() !== 0) return suiteNames.map((name) => suite(name, { env }))
  const halves = halvesOf(suiteNames.flatMap((name) => filesOf(name)))
  const takes = (file: string) => halves.root.has(file)
  const rootEnv = { ...env, ...envOf(halves, 'root') }
  const shared = (['unit', 'sim'] as const).map((name) => suite(name, { env: rootEnv, takes }))
  return [...shared, ['as root and as an ordinary user', () => asBoth(halves, env)]]
}

/** Random cases of a run that decides about a change are those of its tree; `long` draws new ones each time. */
function seeded(): Readonly<Record<string, string>> {
  return { MAYFLY_SEED: process.env['MAYFLY_SEED'] ?? treeSeed() }
}

function envOf(halves: Halves, half: 'root' | 'ordinary') {
  const { ordinary, seed } = halves
  return {
    MAYFLY_HALF: half,
    ...(half === 'root' && { CI_ORDINARY_FILES: [...ordinary].join(':') }),
    ...(seed !== undefined && {
      CI_SAMPLE: `${seed} ${half}`,
      CI_WHOLE_FILES: wholeAs(half, halves).join(':'),
    }),
  }
}

async function asBoth(halves: Halves, env: Readonly<Record<string, string>>): Promise<Counts> {
  await using user = await ordinaryUser()
  console.log(halves.note)
  const passes = (['root', 'ordinary'] as const).map((half): Pass => {
    const place = half === 'root' ? here : user.place
    return {
      user: half === 'root' ? 'root' : 'an ordinary user',
      place: { ...place, env: { ...place.env, ...env, ...envOf(halves, half) } },
      files: inProcesses.flatMap((name) => filesOf(name)).filter((file) => halves[half].has(file)),
      isUsual: (file) => (halves.countsAs?.(file) ?? half) !== half,
    }
  })
  const options = { place: passes[1]!.place, takes: (file: string) => halves.ordinary.has(file) }
  const alone = await runInOrder([suite('unit', options)])
  const counts = plus(alone, await runSideBySide(passes))
  const left = await user.leftovers()
  for (const process of left) console.log(`Still running: ${process}`)
  return plus(counts, { ...nothingCounted, [left.length > 0 ? 'failed' : 'passed']: 1 })
}
