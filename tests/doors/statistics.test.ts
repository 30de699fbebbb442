import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLog } from '../../src/evidence/log-reader.ts'
import { type JobRequest, Mayfly, type Outcome, type Status } from '../../src/index.ts'
import { auditFile } from '../../src/lib/state-folder.ts'
import { Meters } from '../../src/telemetry/meters.ts'
import { sampledRuns } from '../fixtures/drawn.ts'

const runs = process.env['MAYFLY_LONG'] ? 1_000 : sampledRuns(100, import.meta.filename)
const atOnce = 4
const seed = Number(process.env['MAYFLY_SEED'] ?? 7)

/** Jobs for each status that a test can cause, and requests that never become a job. */
const kinds: readonly (readonly [ends: Status | 'no job', asked: JobRequest])[] = [
  ['ok', { code: 'return input + 1', input: 1 }],
  ['ok', { code: 'console.log("a"); return new Map()' }],
  ['error', { code: 'throw new Error("no")' }],
  ['error', { code: 'return (;' }],
  ['blocked', { code: 'return this.constructor.constructor("return process")()' }],
  ['timeout', { code: 'for (;;) {}', limits: { timeout: 40 } }],
  ['unavailable', { code: 'return 1', tier: 'microvm' }],
  ['refused', { code: 'return 1', output: { schema: { type: 'string' } } }],
  ['cancelled', { code: 'return 1' }],
  ['no job', { code: 'return 1', schedule: 'nobody-made-this' }],
  ['no job', { code: 'return 1', limits: { timeout: 0 } }],
]

test('Mixed runs: statistics, metrics, the record and an independent count agree (S3-62)', async (t) => {
  t.diagnostic(`${runs} runs, seed ${seed}`)
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-statistics-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const state = join(folder, 'state')
  const meters = new Meters()
  const mayfly = await Mayfly.open({ state }, { sinks: [meters.sink] })
  const outcomes: Outcome[] = []
  let noJob = 0

  const random = randomOf(seed)
  const chosen = Array.from({ length: runs }, () => kinds[Math.floor(random() * kinds.length)]!)
  const queue = chosen.values()
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [ends, asked] of queue) {
        const outcome = await runOne(mayfly, ends, asked)
        if (outcome) outcomes.push(outcome)
        else noJob++
      }
    }),
  )
  const statistics = mayfly.statistics()
  const readings = await meters.read()
  await mayfly.close()

  const byStatus = tally(outcomes.map(({ status }) => status))
  const byTier = tally(outcomes.map(({ tier }) => tier ?? 'none'))
  assert.deepEqual(
    byStatus,
    tally(chosen.map(([ends]) => ends).filter((ends) => ends !== 'no job')),
  )
  assert.equal(noJob + outcomes.length, runs)

  assert.equal(statistics.jobs, outcomes.length)
  assert.equal(statistics.running, 0)
  assert.deepEqual(statistics.byStatus, byStatus)
  assert.deepEqual(statistics.byTier, byTier)

  const metered = (name: string) => readings.find((one) => one.name === name)?.series ?? []
  const sum = (name: string) => metered(name).reduce((all, { value = 0 }) => all + value, 0)
  assert.equal(sum('mayfly.admissions'), outcomes.length)
  assert.equal(sum('mayfly.executions'), outcomes.length)

  const log = openLog(auditFile(state))
  const lines = [...log.lines()]
  log[Symbol.dispose]()
  assert.equal(lines.filter(({ kind }) => kind === 'admitted').length, outcomes.length)
  const ended = lines.filter(({ kind }) => kind === 'ended')
  assert.deepEqual(tally(ended.map(({ status }) => String(status))), byStatus)
  assert.deepEqual(new Set(ended.map(({ run }) => run)), new Set(outcomes.map(({ id }) => id)))
})

/** Undefined where the request never became a job. */
async function runOne(
  mayfly: Mayfly,
  ends: Status | 'no job',
  asked: JobRequest,
): Promise<Outcome | undefined> {
  const signal = ends === 'cancelled' ? AbortSignal.abort() : undefined
  try {
    return await mayfly.run(asked, signal && { signal })
  } catch (thrown) {
    assert.equal((thrown as { code?: unknown }).code, 'INVALID')
    return undefined
  }
}

function tally(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}

/** Random numbers from a seed: mulberry32. */
function randomOf(start: number): () => number {
  let state = start >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
