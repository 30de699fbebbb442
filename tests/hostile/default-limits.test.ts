import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { isSampled } from '../fixtures/drawn.ts'
import { Trap } from './bait.ts'
import type { Case } from './case.ts'
import { corpus } from './corpus.ts'
import { type Library, onIsolates, openMayfly } from './mayfly.ts'
import { inParallel, sample, seed } from './sample.ts'
import { watchStalls } from './stalls.ts'
import { tryOut } from './try-out.ts'

/**
 * Bombs at the limits of a job that asks for none: 5 s and 128 MB. Each takes five seconds, so a few are drawn unless
 * MAYFLY_LONG is set; MAYFLY_SEED draws others.
 */
const long = process.env['MAYFLY_LONG'] !== undefined
const drawnCount = isSampled ? 2 : 6
const atATime = 2
/** The promise: 5 s, and a fiftieth of it to notice. */
const endMsMax = 5_100
/** Retries: a busy machine may be late for seconds, while a bomb that is not ended is late each time. */
const triesMax = 5

/** Cases that a limit may end. */
const bombs = [...corpus.time, ...corpus.memory, ...corpus.parser].filter(({ expect }) =>
  expect.some((end) => end === 'timeout' || end === 'limit'),
)
/** Cases that their timeout alone may end. Many of the others are refused by the parser and never run. */
const endless = bombs.filter(({ expect }) => expect.every((end) => end === 'timeout'))
const others = bombs.filter((one) => !endless.includes(one))

let trap: Trap
let mayfly: Library | undefined
let absent = ''

before(async () => {
  trap = await Trap.set()
  const opened = await openMayfly(onIsolates)
  if (typeof opened === 'string') absent = opened
  else mayfly = opened
})
after(async () => {
  await mayfly?.[Symbol.asyncDispose]()
  await trap[Symbol.asyncDispose]()
})

test('Every bomb ends within 5.1 s at the default limits (S3-3, S3-11)', async (t) => {
  if (!mayfly) return t.skip(absent)
  const library = mayfly
  using stalls = watchStalls()
  const took: number[] = []
  const late = new Map<Case, string>()
  /** Undefined if it was in time, less what this machine stood still meanwhile. */
  const whyLate = async (hostile: Case): Promise<string | undefined> => {
    stalls.takeMs()
    const { ranMs } = await tryOut({ library, trap }, hostile, undefined)
    took.push(...ranMs)
    const stallMs = stalls.takeMs()
    const lateMs = Math.max(0, ...ranMs) - endMsMax
    return lateMs > stallMs ? `${Math.round(lateMs)} ms, stall ${Math.round(stallMs)}` : undefined
  }
  const each = long ? Infinity : drawnCount / 2
  const cases = [...sample(endless, each, seed), ...sample(others, each, seed)]
  await inParallel(cases, atATime, async (hostile) => {
    const why = await whyLate(hostile)
    if (why) late.set(hostile, why)
  })
  for (const [{ name }, why] of late) t.diagnostic(`late at first: ${name}, by ${why}`)
  // Late under load: retried alone.
  for (const hostile of late.keys())
    for (let tries = 1; tries < triesMax && late.has(hostile); tries++)
      if (!(await whyLate(hostile))) late.delete(hostile)
  assert.ok(Math.max(0, ...took) >= endMsMax / 2, 'no job lived for its time')
  const sorted = took.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)]?.toFixed(0)
  t.diagnostic(
    `${cases.length} bombs, seed ${seed}: p50 ${at(0.5)} ms, p90 ${at(0.9)}, most ${at(1)}`,
  )
  assert.deepEqual(
    [...late].map(([{ name }, why]) => `${name}: ${why}`),
    [],
    `seed ${seed}`,
  )
})
