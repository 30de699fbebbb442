/**
 * Assigns test files to root and to an ordinary user. A complete run executes each user-dependent file as both,
 * which takes more than fifteen minutes on two cores. CI therefore samples by a printed seed: each file runs at
 * least once, as either user, and files changed by recent commits run as both. `CI_HALVES` repeats a sample; `npm
 * run ci -- long` runs everything.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { here } from './place.ts'
import { dependsOnUser } from './suites.ts'

const newestCommits = 5

export interface Halves {
  readonly root: ReadonlySet<string>
  readonly ordinary: ReadonlySet<string>
  /** Reports the files that run as one user only, and how to repeat the sample. */
  readonly note: string
}

/** Root runs all files, the ordinary user those that may behave differently. */
export function wholeHalves(files: readonly string[]): Halves {
  const ordinary = files.filter(dependsOnUser)
  const once = files.filter((file) => !dependsOnUser(file))
  return {
    root: new Set(files),
    ordinary: new Set(ordinary),
    note: `Not again, since the user makes no difference:\n  ${once.join('\n  ')}`,
  }
}

export function sampledHalves(
  files: readonly string[],
  seed: string = process.env['CI_HALVES'] ?? String(Date.now() % 2 ** 31),
  changed: ReadonlySet<string> = changedFiles(),
): Halves {
  const isBoth = (file: string) => dependsOnUser(file) && (isPrivileged(file) || changed.has(file))
  const isOrdinary = (file: string) => dependsOnUser(file) && !isBoth(file) && draw(seed, file)
  const root = files.filter((file) => !isOrdinary(file))
  const ordinary = files.filter((file) => isBoth(file) || isOrdinary(file))
  return {
    root: new Set(root),
    ordinary: new Set(ordinary),
    note: `${ordinary.length} of ${files.length} files, drawn by CI_HALVES=${seed}; the others ran as root alone`,
  }
}

/** Tests of walls and of Mayfly's own files: root and users use different mechanisms. */
function isPrivileged(file: string): boolean {
  return /^tests\/(walls\/(warden|process-faults|process-ways|kill)|doors\/(state-folder|older-tree))/.test(
    file,
  )
}

/** Independent of how many files there are, and of their order: one bit of a hash. `~SEED` draws what SEED did not. */
function draw(seed: string, file: string): boolean {
  const isInverse = seed.startsWith('~')
  const text = `${isInverse ? seed.slice(1) : seed} ${file}`
  const bit = createHash('sha256').update(text).digest()[0]! & 1
  return (bit === 1) !== isInverse
}

/** Test files changed by recent commits; none without history. */
function changedFiles(): ReadonlySet<string> {
  try {
    const range = ['log', `-${newestCommits}`, '--name-only', '--format=']
    const text = execFileSync('git', range, {
      cwd: here.folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const paths = text.split('\n').filter(Boolean)
    return new Set(paths.flatMap((path) => [path, path.replace(/\.ts$/, '.test.ts')]))
  } catch {
    return new Set()
  }
}
