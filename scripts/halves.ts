/**
 * Assigns test files to root and to an ordinary user. A complete run executes each user-dependent file as both,
 * which takes more than fifteen minutes on two cores. CI therefore samples by a printed seed of the tree: of the
 * files of walls and doors a share runs (`rotation.ts`), each as either user; some that recent commits changed run as both,
 * with all of their tests as either. Of other slow files a part runs (`tests/fixtures/drawn.ts`). `CI_SEED` repeats a sample;
 * `npm run ci -- long` runs everything.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { here } from './place.ts'
import { always, rotated } from './rotation.ts'
import { countsAsRoot, dependsOnUser } from './suites.ts'
import { treeSeed } from './tree-seed.ts'

const newestCommits = 5
/** Bound of the files that run as both users for their changes: a commit may change most of them in one line. */
const changedMax = 3

export interface Halves {
  readonly root: ReadonlySet<string>
  readonly ordinary: ReadonlySet<string>
  /** Files whose tests all run as one of the users: `wholeAs`. */
  readonly whole: ReadonlySet<string>
  /** Seed of the sample; none in a complete run. */
  readonly seed?: string
  /** Reports the files that run as one user only, and how to repeat the sample. */
  readonly note: string
  /** The user as whom a file has its larger counts in a long run; as the other it has the usual ones. */
  readonly countsAs?: (file: string) => 'root' | 'ordinary'
}

/**
 * Root runs all files, the ordinary user those that may behave differently. A long run reaches the counts of a file once: as
 * root, or as the ordinary user, by the name of the file; `CI_SEED=~` swaps them.
 */
export function wholeHalves(
  files: readonly string[],
  seed: string = process.env['CI_SEED'] ?? '',
): Halves {
  const ordinary = files.filter(dependsOnUser)
  const once = files.filter((file) => !dependsOnUser(file))
  const isAsRoot = (file: string) => !dependsOnUser(file) || countsAsRoot(file)
  return {
    root: new Set(files),
    ordinary: new Set(ordinary),
    whole: new Set(files),
    countsAs: (file) => (!isAsRoot(file) && draw(seed, file) ? 'ordinary' : 'root'),
    note: `Not again, since the user makes no difference:\n  ${once.join('\n  ')}`,
  }
}

export function sampledHalves(
  all: readonly string[],
  seed: string = process.env['CI_SEED'] ?? treeSeed(),
  changed: ReadonlySet<string> = changedFiles(),
): Halves {
  const { taken: files, left } = rotated(all, (file) => bits(`${seed} turns`, file), changed)
  const inOrder = files
    .filter((file) => changed.has(file))
    .sort((a, b) => bits(seed, a) - bits(seed, b))
  const whole = new Set(inOrder.slice(0, changedMax))
  const isBoth = (file: string) => dependsOnUser(file) && (always.test(file) || whole.has(file))
  const isOrdinary = (file: string) => dependsOnUser(file) && !isBoth(file) && draw(seed, file)
  const root = files.filter((file) => !isOrdinary(file))
  const ordinary = files.filter((file) => isBoth(file) || isOrdinary(file))
  return {
    root: new Set(root),
    ordinary: new Set(ordinary),
    whole,
    seed,
    note: [
      `CI_SEED=${seed}: ${ordinary.length} of ${files.length} files run as an ordinary user, the others as root alone`,
      `Left to other seeds and to the long run: ${left.join(' ')}`,
      `Changed, hence as both, and whole as either: ${[...whole].join(' ') || 'none'}`,
    ].join('\n'),
  }
}

/** Changed files that run whole as this user: those that run as both run whole as either, and drawn as the other. */
export function wholeAs(
  half: 'root' | 'ordinary',
  { whole, ordinary, seed = '' }: Halves,
): readonly string[] {
  return [...whole].filter(
    (file) => (ordinary.has(file) && draw(seed, file) ? 'ordinary' : 'root') === half,
  )
}

/** Hash bit of seed and name: independent of the number of files and of their order. `~SEED` draws the complement. */
function draw(seed: string, file: string): boolean {
  return (bits(seed, file) % 2 === 1) !== seed.startsWith('~')
}

function bits(seed: string, file: string): number {
  const text = `${seed.replace(/^~/, '')} ${file}`
  return createHash('sha256').update(text).digest()[0]!
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
