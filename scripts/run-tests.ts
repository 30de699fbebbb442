import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { againOf, type Counted, type Counts, nothingCounted, plus, withSecond } from './counts.ts'
import { batchesOf, type Lane, lonelyLast } from './lanes.ts'
import { KeptResults } from './kept-results.ts'
import { here, type Place, runProgram } from './place.ts'
import { digestsOfTests } from './tree-seed.ts'

export interface TestRun extends RunOptions {
  /** Lanes run in parallel. */
  readonly lanes: readonly Lane[]
}

/** Files of one user, each in a process of its own. */
export interface Pass {
  readonly user: string
  readonly place: Place
  readonly files: readonly string[]
  /** True for a file that has its usual counts in a long run of this user. */
  readonly isUsual?: (file: string) => boolean
}

interface RunOptions {
  readonly place: Place
  /** Runs only tests whose title matches. */
  readonly title?: string
  /** True: all files of a lane share one process. */
  readonly isShared: boolean
  readonly coverage: boolean
  readonly isUsual?: Pass['isUsual']
}

/**
 * Timeouts of a test (shared) or file (separate), and of a whole suite, sized for a machine with a third of this
 * one's speed.
 */
const testMsMax = { shared: 120_000, file: 600_000 }
const suiteMsMax = { shared: 300_000, file: 2_700_000 }
const program = 'scripts/test-files.ts'
/** Workers beside the one whose files measure. In a long run, whose files keep a processor busy, one for each processor. */
const besideMeasuring = { usual: 2, long: Math.max(1, Math.min(2, availableParallelism() - 1)) }
/** Timeout factor of `MAYFLY_LONG`. */
const longFactor = 12

/** Runs test files with node:test and counts results. A run that aborts counts as one failure. */
export async function runTests(run: TestRun): Promise<Counts> {
  const lanes = run.lanes.filter(({ files }) => files.length > 0)
  if (lanes.length === 0) console.log('No tests there')
  const counted = await Promise.all(lanes.map((lane) => runLane(run, lane)))
  return runAgain(run, together(counted))
}

/**
 * Runs the passes of several users side by side, two or three files at a time. At most one of these measures the machine; its
 * worker helps the others afterwards, so that none waits for the end of a suite or of the other user's pass.
 */
export async function runSideBySide(passes: readonly Pass[]): Promise<Counts> {
  const runs = passes.map((pass) => ({ ...pass, isShared: false, coverage: false }))
  const counted = new Map(runs.map((run) => [run, [] as Counted[]]))
  const kept = runs.every(({ place }) => isLong(place)) ? keptOfLong() : undefined
  const take = async (batches: Iterable<Batch>) => {
    for (const { run, files } of batches) {
      const earlier = kept?.get(run.user, files)
      if (earlier) {
        console.log(`passed before, not run again: ${files.join(' ')} (${run.user})`)
        counted.get(run)!.push({ ...earlier, files: {} })
        continue
      }
      const counts = await runLane(run, { files, atATime: 1 })
      kept?.put(run.user, files, counts)
      counted.get(run)!.push(counts)
    }
  }
  const parts = runs.map((run) => {
    const all = { others: run.files, last: [] }
    return { run, ...(isLong(run.place) ? lonelyLast(run.files) : all) }
  })
  const load = startLoad()
  const left = parts.map((one) => ({ run: one.run, ...batchesOf(one.others, kept && 1) }))
  // Results of a long run are kept by batch: a failed file must not cost those of others.
  const alone = left.flatMap(({ run, alone: files }) =>
    kept ? files.map((file) => ({ run, files: [file] })) : [{ run, files }],
  )
  const others = inTurns(
    left.map(({ run, ...one }) => one.others.map((files) => ({ run, files }))),
  ).values()
  const measured = take(alone.filter(({ files }) => files.length > 0))
  const measures = measured.then(() => {
    console.log(`── all that measure: ${load()}`)
    return take(others)
  })
  const workers = kept ? besideMeasuring.long : besideMeasuring.usual
  await Promise.all([measures, ...Array.from({ length: workers }, () => take(others))])
  console.log(`── side by side: ${load()}`)
  await take(inTurns(parts.map(({ run, last }) => last.map((file) => ({ run, files: [file] })))))
  let total = nothingCounted
  for (const [run, all] of counted) {
    const counts = await runAgain(run, together(all))
    console.log(`── as ${run.user}: ${counts.passed} passed, ${counts.failed} failed`)
    total = plus(total, counts)
  }
  if (total.failed === 0) kept?.clear()
  return total
}

/** Results of a long run that was interrupted, of files about which nothing that decides has changed. */
function keptOfLong(): KeptResults {
  const digestOf = digestsOfTests()
  const seed = process.env['CI_SEED'] ?? ''
  const keyOf = (files: readonly string[]) => `${digestOf(files)} ${process.version} ${seed}`
  return new KeptResults(join(here.folder, 'node_modules/.cache/mayfly-long.json'), keyOf)
}

/** Seconds since the call, and the share of the machine's processor time in them that anything took. */
function startLoad(): () => string {
  const idleMs = () => cpus().reduce((sum, { times }) => sum + times.idle, 0)
  const [start, idle] = [performance.now(), idleMs()]
  return () => {
    const took = performance.now() - start
    const busy = 1 - (idleMs() - idle) / (took * cpus().length)
    return `${(took / 1000).toFixed(0)} s, processors ${(busy * 100).toFixed(0)} % busy`
  }
}

interface Batch {
  readonly run: RunOptions & Pass
  readonly files: readonly string[]
}

/** The first of each list, then the second of each. */
function inTurns<T>(lists: readonly (readonly T[])[]): readonly T[] {
  const length = Math.max(...lists.map((list) => list.length))
  return Array.from({ length }, (_, at) => lists.flatMap((list) => list.slice(at, at + 1))).flat()
}

/** Prints both runs, and names files that passed only alone. */
async function runAgain(run: RunOptions, first: Counted): Promise<Counts> {
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

async function runLane(given: RunOptions, lane: Lane): Promise<Counted> {
  const run = withCounts(given, lane.files)
  const folder = scratchFor(run.place)
  const countsFile = join(folder, 'counts.json')
  const place = { ...run.place, env: { ...run.place.env, ...envIn(folder, run) } }
  try {
    const command = ['node', '--disable-warning=ExperimentalWarning', ...seeded(run), program]
    command.push(optionsOf(run, lane), countsFile)
    const ended = await runProgram(place, command, limitOf(run, suiteMsMax))
    return countsIn(countsFile, ended)
  } finally {
    giveBack(run.place, folder)
  }
}

/** Without the counts of a long run, where all of these files have their usual ones. */
function withCounts(run: RunOptions, files: readonly string[]): RunOptions {
  const { isUsual, place } = run
  if (isUsual === undefined || !files.every(isUsual)) return run
  const { MAYFLY_LONG: _long, ...env } = place.env
  return { ...run, place: { ...place, env } }
}

/** Shares the compile cache between test files, the programs they start, and the lanes of one user. */
function envIn(folder: string, { coverage, place }: RunOptions): Record<string, string> {
  const cache = caches.getOrInsertComputed(place.folder, () => ownFolder(place))
  return {
    TMPDIR: join(folder, 'tmp'),
    XDG_CACHE_HOME: cache,
    // Coverage of code from the compile cache is less precise.
    ...(!coverage && { NODE_COMPILE_CACHE: join(cache, 'tests') }),
  }
}

/** Scratch folder for counts and test leftovers. Walls with their own uid need access. */
function scratchFor(place: Place): string {
  const free = scratches.get(place.folder)?.pop()
  if (free !== undefined) return free
  const folder = ownFolder(place)
  mkdirSync(join(folder, 'tmp'))
  chmodSync(join(folder, 'tmp'), 0o1777)
  return folder
}

/** A process that ends may write to a folder once more while it is removed. */
const removal = { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }
/** Folder of `cacheFolder` for a user whom the cache of this run is closed to: the server of a root warden. */
const COMPILED = /^mayfly-compiled-\d+$/

/** Leaves a scratch folder to the next lane with nothing in it but compile caches, which each lane would fill anew. */
function giveBack(place: Place, folder: string): void {
  const all = readdirSync(join(folder, 'tmp')).filter((name) => !COMPILED.test(name))
  const paths = ['counts.json', ...all.map((name) => join('tmp', name))]
  for (const path of paths) rmSync(join(folder, path), removal)
  scratches.getOrInsert(place.folder, []).push(folder)
}

/** Scratch folders that no lane uses. */
const scratches = new Map<string, string[]>()
/** Compile cache of each checkout, for the whole run. */
const caches = new Map<string, string>()
process.on('exit', () => {
  for (const folder of [...caches.values(), ...[...scratches.values()].flat()])
    rmSync(folder, removal)
})

function ownFolder({ env, uid }: Place): string {
  const folder = mkdtempSync(join(env['TMPDIR'] ?? tmpdir(), 'mayfly-ci-'))
  chmodSync(folder, 0o711)
  if (uid !== undefined) chownSync(folder, uid, uid)
  return folder
}

function limitOf({ isShared, place }: RunOptions, max: typeof testMsMax): number {
  return (isShared ? max.shared : max.file) * (isLong(place) ? longFactor : 1)
}

/** Options of Node for a test file in a process of its own, which ends with its tests, not with what a test left waiting. */
export function ownProcessOptions(folder: string): readonly string[] {
  return ['--test-force-exit', '--import', join(folder, 'tests/fixtures/whole-reports.ts')]
}

/** Property tests draw by the seed of the run, where it has one. */
function seeded({ place }: RunOptions): readonly string[] {
  return ['--import', join(place.folder, 'tests/fixtures/property-seed.ts')]
}

function isLong({ env }: Place): boolean {
  return env['MAYFLY_LONG'] !== undefined
}

/** Options of `run` in `node:test`. */
function optionsOf(run: RunOptions, { files, atATime }: Lane): string {
  const { place, isShared, title, coverage } = run
  const execArgv = [...ownProcessOptions(place.folder), ...seeded(run)]
  return JSON.stringify({
    files: files.map((file) => join(place.folder, file)),
    isolation: isShared ? 'none' : 'process',
    ...(!isShared && { concurrency: atATime, execArgv }),
    timeout: limitOf(run, testMsMax),
    ...(title && { testNamePatterns: [title] }),
    ...(coverage && {
      coverage: true,
      coverageIncludeGlobs: ['src/**'],
      coverageExcludeGlobs: ['**/*.test.ts'],
    }),
  })
}

/**
 * An aborted run counts as another failure, in no known file. A run without counts is a failure, whatever its exit code.
 */
function countsIn(file: string, endedWell: boolean): Counted {
  try {
    const counts = JSON.parse(readFileSync(file, 'utf8')) as Counted
    return endedWell || counts.failed > 0 ? counts : { ...counts, failed: 1 }
  } catch {
    return { ...nothingCounted, failed: 1, files: {} }
  }
}
