export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

/** With those of each file of which something failed, by its whole path; none where files share a process. */
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

/** More than these fail together because something is broken. */
const AGAIN_MAX = 3
/** What tries to get out has to be held each time, however many run beside it. */
const NEVER_AGAIN = 'tests/hostile/'

/**
 * Files that are run a second time, alone: machines here are shared, and a bound on time that does not hold beside
 * five others may say nothing of what it bounds. None where what failed has another cause, or no file of its own.
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

/** What all counted, with the second run of those in place of their first. */
export function withSecond(first: Counted, second: Counts): Counts {
  return plus(Object.values(first.files).reduce(minus, first), second)
}
