import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { againOf, type Counted, type Counts, nothingCounted, plus, withSecond } from './counts.ts'
import type { Lane } from './lanes.ts'
import { type Place, runProgram } from './place.ts'

export interface TestRun {
  readonly place: Place
  /** Lanes run in parallel. */
  readonly lanes: readonly Lane[]
  /** Runs only tests whose title matches. */
  readonly title?: string
  /** True: all files of a lane share one process. */
  readonly isShared: boolean
  readonly coverage: boolean
}

/**
 * Timeouts of a test (shared) or file (separate), and of a whole suite, sized for a machine with a third of this
 * one's speed.
 */
const testMsMax = { shared: 120_000, file: 600_000 }
const suiteMsMax = { shared: 300_000, file: 2_700_000 }
const program = 'scripts/test-files.ts'
/** Timeout factor of `MAYFLY_LONG`. */
const longFactor = 12

/** Runs test files with node:test and counts results. A run that aborts counts as one failure. */
export async function runTests(run: TestRun): Promise<Counts> {
  const lanes = run.lanes.filter(({ files }) => files.length > 0)
  if (lanes.length === 0) console.log('No tests there')
  const counted = await Promise.all(lanes.map((lane) => runLane(run, lane)))
  return runAgain(run, together(counted))
}

/** Prints both runs, and names files that passed only alone. */
async function runAgain(run: TestRun, first: Counted): Promise<Counts> {
  const files = againOf(first, (file) => relative(run.place.folder, file))
  if (files.length === 0) return first
  console.log(`── again, one at a time: ${files.join(' ')}`)
  const second = await runLane(run, { files, atATime: 1 })
  const failed = Object.keys(second.files).map((file) => relative(run.place.folder, file))
  const passed = second.failed === 0 ? files : files.filter((file) => !failed.includes(file))
  for (const file of passed) console.log(`FLAKY: ${file} failed beside others and passed alone`)
  return withSecond(first, second)
}

function together(counted: readonly Counted[]): Counted {
  const files = Object.assign({}, ...counted.map((one) => one.files)) as Counted['files']
  return { ...counted.reduce(plus, nothingCounted), files }
}

async function runLane(run: TestRun, lane: Lane): Promise<Counted> {
  const folder = scratchFor(run.place)
  const countsFile = join(folder, 'counts.json')
  const place = { ...run.place, env: { ...run.place.env, ...envIn(folder, run) } }
  try {
    const command = ['node', '--disable-warning=ExperimentalWarning', program]
    command.push(optionsOf(run, lane), countsFile)
    const ended = await runProgram(place, command, limitOf(run, suiteMsMax))
    return countsIn(countsFile, ended)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Shares the compile cache between test files and the programs they start. */
function envIn(folder: string, { coverage }: TestRun): Record<string, string> {
  const cache = join(folder, 'cache')
  return {
    TMPDIR: join(folder, 'tmp'),
    XDG_CACHE_HOME: cache,
    // Coverage of code from the compile cache is less precise.
    ...(!coverage && { NODE_COMPILE_CACHE: join(cache, 'tests') }),
  }
}

/** Scratch folder for counts, compile cache and test leftovers. Walls with their own uid need access. */
function scratchFor({ env, uid }: Place): string {
  const folder = mkdtempSync(join(env['TMPDIR'] ?? tmpdir(), 'mayfly-ci-'))
  for (const name of ['tmp', 'cache']) mkdirSync(join(folder, name))
  chmodSync(join(folder, 'tmp'), 0o1777)
  chmodSync(folder, 0o711)
  if (uid !== undefined) for (const own of [folder, join(folder, 'cache')]) chownSync(own, uid, uid)
  return folder
}

function limitOf({ isShared, place }: TestRun, max: typeof testMsMax): number {
  const isLong = place.env['MAYFLY_LONG'] !== undefined
  return (isShared ? max.shared : max.file) * (isLong ? longFactor : 1)
}

/** Options of `run` in `node:test`. */
function optionsOf(run: TestRun, { files, atATime }: Lane): string {
  const { place, isShared, title, coverage } = run
  return JSON.stringify({
    files: files.map((file) => join(place.folder, file)),
    isolation: isShared ? 'none' : 'process',
    // A file whose test timed out ends with its tests, not with what the test left waiting.
    ...(!isShared && { concurrency: atATime, execArgv: ['--test-force-exit'] }),
    timeout: limitOf(run, testMsMax),
    ...(title && { testNamePatterns: [title] }),
    ...(coverage && {
      coverage: true,
      coverageIncludeGlobs: ['src/**'],
      coverageExcludeGlobs: ['**/*.test.ts'],
    }),
  })
}

/** An aborted run counts as another failure, in no known file. */
function countsIn(file: string, endedWell: boolean): Counted {
  const counts = readCounts(file)
  const isLost = !endedWell && counts.failed === 0
  return isLost ? { ...counts, failed: 1 } : counts
}

/** A run without counts is a failure, whatever its exit code. */
function readCounts(file: string): Counted {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Counted
  } catch {
    return { ...nothingCounted, failed: 1, files: {} }
  }
}
