import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { drawn, isSampled } from '../fixtures/drawn.ts'
import { Trap } from './bait.ts'
import type { Case } from './case.ts'
import { families } from './case.ts'
import { corpus } from './corpus.ts'
import { graceMs, type Library, openMayfly, smallLimits, timeoutMs } from './mayfly.ts'
import { descendantsOf, restsAfterwards } from './proc.ts'
import { inParallel } from './sample.ts'
import { isContainedAlone, ranOut, triesMax, tryOut } from './try-out.ts'

/**
 * The whole corpus through the library, on the isolate wall: every case that breaks the other sandboxes is
 * contained. A sampled run draws from each family.
 */

const atATime = 4
/** Share of a family in a sample: a time limit makes each case cost its full time. */
const oneOf = 14
const nextJobMsMax = 5_000
/** Runs of an honest job that leave nothing. */
const honestRunCount = isSampled ? 150 : 1_000
/** The promise: this share may end later than the limit plus 250 ms. */
const lateShareMax = 0.01

let trap: Trap
let mayfly: Library | undefined
let absent = ''
/** Run times of each case's jobs in its first attempt. */
const times = new Map<Case, readonly number[]>()
const serverPid = process.pid

before(async () => {
  trap = await Trap.set()
  const opened = await openMayfly()
  if (typeof opened === 'string') absent = opened
  else mayfly = opened
})
after(async () => {
  await mayfly?.[Symbol.asyncDispose]()
  await trap[Symbol.asyncDispose]()
})

for (const family of families) {
  test(`Every hostile program of the family "${family}" is contained (S3-1, S3-37)`, async (t) => {
    if (!mayfly) return t.skip(absent)
    const library = mayfly
    const uncontained = new Map<Case, string>()
    await inParallel(drawn(corpus[family], family, oneOf), atATime, async (hostile) => {
      const { why, ranMs } = await tryOut({ library, trap }, hostile, smallLimits)
      times.set(hostile, ranMs)
      if (why) uncontained.set(hostile, why)
    })
    // Contained, but by an unexpected limit: retry alone.
    for (const [hostile, first] of uncontained)
      if (ranOut.test(first) && (await isContainedAlone({ library, trap }, hostile)))
        uncontained.delete(hostile)
    assert.deepEqual(
      [...uncontained].map(([{ name }, why]) => `${name}: ${why}`),
      [],
    )
    assert.equal(process.pid, serverPid)
    await answersInTime(library)
    await restsAfterwards()
  })
}

test('Timeouts are enforced within the limit plus 250 ms for 99 of 100; late cases are retried alone (S3-3, S3-11)', async (t) => {
  if (!mayfly) return t.skip(absent)
  const sorted = [...times.values()].flat().toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0
  const shown = [0.5, 0.9, 0.99, 1].map((share) => `p${share * 100} ${at(share).toFixed(0)} ms`)
  t.diagnostic(`${sorted.length} jobs with a limit of ${timeoutMs} ms: ${shown.join(', ')}`)
  // Late under load: retry alone.
  const late: string[] = []
  for (const [hostile, ranMs] of times)
    if (ranMs.some(isLate) && (await isLateAlone(mayfly, hostile))) late.push(hostile.name)
  assert.ok((sorted.at(-1) ?? 0) >= timeoutMs / 2, 'no job lived for its time')
  const most = Math.floor(times.size * lateShareMax)
  assert.ok(late.length <= most, `${late.join()} of ${times.size} were late, each time`)
})

function isLate(ms: number): boolean {
  return ms > timeoutMs + graceMs
}

async function isLateAlone(library: Library, hostile: Case): Promise<boolean> {
  for (let tries = 1; tries < triesMax; tries++)
    if (!(await tryOut({ library, trap }, hostile, smallLimits)).ranMs.some(isLate)) return false
  return true
}

test(`${honestRunCount} runs leak no process and no file`, async (t) => {
  if (!mayfly) return t.skip(absent)
  const library = mayfly
  // By then every lane has a worker of its tenant and the pool is full.
  await honestRuns(library, 300)
  const before = { processes: await restingCount(), files: temporaryFiles() }
  await honestRuns(library, honestRunCount)
  const after = await eventually(
    () => descendantsOf(process.pid).length,
    (count) => count <= before.processes,
  )
  assert.ok(after <= before.processes, `${after} processes, ${before.processes} before`)
  // Another test in parallel has temporary files of its own.
  const files = await eventually(
    () => temporaryFiles().difference(before.files),
    ({ size }) => size === 0,
  )
  assert.deepEqual(files, new Set())
})

/** Number of processes once the pool is stable: unchanged for a second. */
async function restingCount(): Promise<number> {
  let [seen, same] = [-1, 0]
  for (let tries = 0; same < 10 && tries < 200; tries++) {
    await sleep(100)
    const now = descendantsOf(process.pid).length
    same = now === seen ? same + 1 : 0
    seen = now
  }
  return seen
}

async function honestRuns(library: Library, count: number): Promise<void> {
  await inParallel(Array.from({ length: count }), atATime, async () => {
    const { status } = await library.run({ code: 'return 1', language: 'js' })
    assert.equal(status, 'ok')
  })
}

/** Polls `read` until it `holds`, for at most ten seconds: a spare may be starting. */
async function eventually<T>(read: () => T, holds: (value: T) => boolean): Promise<T> {
  for (let tries = 0; tries < 100 && !holds(read()); tries++) await sleep(100)
  return read()
}

async function answersInTime(library: Library): Promise<void> {
  const job = { code: 'return input + 1', language: 'js', input: 1 } as const
  const took: number[] = []
  do {
    const began = performance.now()
    const { status, result } = await library.run(job)
    assert.deepEqual({ status, result }, { status: 'ok', result: 2 })
    took.push(Math.round(performance.now() - began))
  } while (took.at(-1)! >= nextJobMsMax && took.length < triesMax)
  assert.ok(took.at(-1)! < nextJobMsMax, `the next jobs waited ${took.join()} ms`)
}

function temporaryFiles(): ReadonlySet<string> {
  return new Set(readdirSync(tmpdir()).filter((name) => name.startsWith('mayfly')))
}
