/**
 * Which test files run as root, and which as an ordinary user.
 *
 * A whole run takes every file that the user can make a difference to twice. That costs more than fifteen minutes of two
 * cores, so that CI draws by a printed seed: each file runs at least once, as root or as an ordinary user, and those that
 * the newest commits changed run as both. `MAYFLY_SEED` draws the same again; `npm run ci -- long` leaves nothing out.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { here } from './place.ts'
import { dependsOnUser } from './suites.ts'

const newestCommits = 5

export interface Halves {
  readonly root: ReadonlySet<string>
  readonly ordinary: ReadonlySet<string>
  /** Tells what runs in one half alone, and how to draw the same again. */
  readonly note: string
}

/** Root takes all files, the ordinary user those that may say something else then. */
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
  seed: string = process.env['MAYFLY_SEED'] ?? String(Date.now() % 2 ** 31),
  changed: ReadonlySet<string> = changedFiles(),
): Halves {
  const isBoth = (file: string) => dependsOnUser(file) && (isPrivileged(file) || changed.has(file))
  const isOrdinary = (file: string) => dependsOnUser(file) && !isBoth(file) && draw(seed, file)
  const root = files.filter((file) => !isOrdinary(file))
  const ordinary = files.filter((file) => isBoth(file) || isOrdinary(file))
  return {
    root: new Set(root),
    ordinary: new Set(ordinary),
    note: `${ordinary.length} of ${files.length} files, drawn by MAYFLY_SEED=${seed}; the others ran as root alone`,
  }
}

/** The walls themselves and the files of Mayfly: root and users have them by different means. */
function isPrivileged(file: string): boolean {
  return /^tests\/(walls\/(warden|process-faults|process-ways|kill)|doors\/(state-folder|older-tree))/.test(
    file,
  )
}

/** One bit of a hash: independent of how many files there are, and of their order. */
function draw(seed: string, file: string): boolean {
  return (createHash('sha256').update(`${seed} ${file}`).digest()[0]! & 1) === 1
}

/** Test files of the newest commits; none in a copy without history. */
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
