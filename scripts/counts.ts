export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** Counts of a suite, and of each file with failures by absolute path; empty if files share a process. */
export interface Counted extends Counts {
  readonly files: Readonly<Record<string, Counts>>
}

export const nothingCounted: Counts = { passed: 0, failed: 0, skipped: 0 }

export function plus(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  }
}

export function minus(a: Counts, b: Counts): Counts {
  return {
    passed: a.passed - b.passed,
    failed: a.failed - b.failed,
    skipped: a.skipped - b.skipped,
  }
}

/** More failing files than this, of one user, indicate a real defect. */
const AGAIN_MAX = 5
/** Containment tests get no second run: they must hold under any load. */
const NEVER_AGAIN = 'tests/hostile/'

/**
 * Files to run again, alone: timing limits may fail under the load of parallel files. Empty if the failures have
 * another cause, or no file of their own.
 */
export function againOf(
  { failed, files }: Counted,
  relativeTo: (file: string) => string,
): readonly string[] {
  const names = Object.keys(files).map(relativeTo)
  const ofFiles = Object.values(files).reduce((sum, one) => sum + one.failed, 0)
  const isAll = ofFiles === failed && names.length <= AGAIN_MAX
  return isAll && !names.some((name) => name.startsWith(NEVER_AGAIN)) ? names : []
}

/** Counts with the second run in place of the first. */
export function withSecond(first: Counted, second: Counts): Counts {
  return plus(Object.values(first.files).reduce(minus, first), second)
}
