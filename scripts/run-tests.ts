import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Place, runProgram } from './place.ts'

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

export interface TestRun {
  readonly place: Place
  readonly files: readonly string[]
  /** Runs only tests whose title matches. */
  readonly title?: string
  /** All files in one process. */
  readonly isShared: boolean
  readonly concurrency: number
  readonly coverage: boolean
}

export const nothingCounted: Counts = { passed: 0, failed: 0, skipped: 0 }

/** Of one test where files share a process, of one file where they do not; and of a whole suite. */
const testMsMax = { shared: 120_000, file: 600_000 }
const suiteMsMax = { shared: 300_000, file: 900_000 }
/** What `MAYFLY_LONG` multiplies. */
const longFactor = 12

/** Runs test files with node:test and counts what they did. A run that breaks before its end is one failure. */
export async function runTests(run: TestRun): Promise<Counts> {
  if (run.files.length === 0) {
    console.log('No tests there')
    return nothingCounted
  }
  const folder = scratchFor(run.place)
  const countsFile = join(folder, 'counts.json')
  const place = { ...run.place, env: { ...run.place.env, TMPDIR: join(folder, 'tmp') } }
  try {
    const command = ['node', ...flagsOf(run, countsFile), ...run.files]
    const ended = await runProgram(place, command, limitOf(run, suiteMsMax))
    return countsIn(countsFile, ended)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Holds the counts, and what tests leave. Walls with uids of their own have to reach into it. */
function scratchFor({ env, uid }: Place): string {
  const folder = mkdtempSync(join(env['TMPDIR'] ?? tmpdir(), 'mayfly-ci-'))
  mkdirSync(join(folder, 'tmp'))
  chmodSync(join(folder, 'tmp'), 0o1777)
  chmodSync(folder, 0o711)
  if (uid !== undefined) chownSync(folder, uid, uid)
  return folder
}

export function plus(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  }
}

function limitOf({ isShared, place }: TestRun, max: typeof testMsMax): number {
  const isLong = place.env['MAYFLY_LONG'] !== undefined
  return (isShared ? max.shared : max.file) * (isLong ? longFactor : 1)
}

function flagsOf(run: TestRun, countsFile: string): readonly string[] {
  const { isShared, concurrency, title, coverage } = run
  return [
    '--disable-warning=ExperimentalWarning',
    '--test',
    isShared ? '--test-isolation=none' : `--test-concurrency=${concurrency}`,
    `--test-timeout=${limitOf(run, testMsMax)}`,
    '--test-reporter=./scripts/reporter.ts',
    '--test-reporter-destination=stdout',
    '--test-reporter=./scripts/counts-reporter.ts',
    `--test-reporter-destination=${countsFile}`,
    ...(title ? [`--test-name-pattern=${title}`] : []),
    ...(coverage ? ['--experimental-test-coverage', '--test-coverage-include=src/**'] : []),
    ...(coverage ? ['--test-coverage-exclude=**/*.test.ts'] : []),
  ]
}

function countsIn(file: string, endedWell: boolean): Counts {
  const counts = readCounts(file)
  const isLost = counts === undefined || (!endedWell && counts.failed === 0)
  return isLost ? plus(counts ?? nothingCounted, { ...nothingCounted, failed: 1 }) : counts
}

function readCounts(file: string): Counts | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Counts
  } catch {
    return undefined
  }
}
