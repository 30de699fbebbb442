import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
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

const testMsMax = { shared: 120_000, file: 600_000 }

/** Runs test files with node:test and counts what they did. A run that breaks before its end is one failure. */
export async function runTests(run: TestRun): Promise<Counts> {
  if (run.files.length === 0) {
    console.log('No tests there')
    return nothingCounted
  }
  const folder = mkdtempSync(join(run.place.env['TMPDIR'] ?? tmpdir(), 'mayfly-counts-'))
  // Somebody else writes there; nobody but us two reaches it.
  if (run.place.become.length > 0) chmodSync(folder, 0o777)
  const countsFile = join(folder, 'counts.json')
  try {
    const ended = await runProgram(run.place, ['node', ...flagsOf(run, countsFile), ...run.files])
    return countsIn(countsFile, ended)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export function plus(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  }
}

function flagsOf(run: TestRun, countsFile: string): readonly string[] {
  const { isShared, concurrency, title, coverage } = run
  return [
    '--disable-warning=ExperimentalWarning',
    '--test',
    isShared ? '--test-isolation=none' : `--test-concurrency=${concurrency}`,
    `--test-timeout=${isShared ? testMsMax.shared : testMsMax.file}`,
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
