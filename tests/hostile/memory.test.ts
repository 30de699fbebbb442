import assert from 'node:assert/strict'
import { test } from 'node:test'
import { drawn } from '../fixtures/drawn.ts'
import { Trap } from './bait.ts'
import { corpus } from './corpus.ts'
import { leastGrowth, mebi } from './growth.ts'
import { memoryMiB, openMayfly, runCase, smallLimits } from './mayfly.ts'

const MIB = 2 ** 20
/**
 * The promise: maximum growth of a worker over its idle size. Without a cgroup, polling notices a single large
 * allocation only after it is made, and kills the worker then; this much more may have been touched.
 */
const growthBytesMax = (memoryMiB * 1.25 + 32) * MIB
const unseenBytes = 32 * MIB

test('A worker’s memory stays within limit × 1.25 + 32 MiB over its idle size, and so does the peak in its outcome (S3-2, S3-10)', async (t) => {
  const mayfly = await openMayfly()
  if (typeof mayfly === 'string') return t.skip(mayfly)
  await using trap = await Trap.set()
  await using library = mayfly
  await library.run({ code: 'return 1', language: 'js' })
  const bound = growthBytesMax + ((await library.hasMemoryCgroup()) ? 0 : unseenBytes)
  const over: string[] = []
  let [most, said] = [0, 0]
  for (const hostile of drawn(corpus.memory, 'bombs')) {
    const peaks: number[] = []
    const { least, told } = await leastGrowth(bound, async () => {
      const lure = trap.lure(hostile)
      const { outcome } = await runCase(library, hostile, lure, { limits: smallLimits })
      peaks.push(outcome?.metrics.memoryUsage?.peak ?? 0)
    })
    most = Math.max(most, least)
    said = Math.max(said, ...peaks)
    if (told.length > 1) t.diagnostic(`${hostile.name}: ${told.join('; ')}`)
    if (Math.min(...peaks) > bound) over.push(`${hostile.name} says ${peaks.map(mebi).join()}`)
    if (least > bound) over.push(`${hostile.name}: ${told.join('; ')}`)
  }
  t.diagnostic(
    `maximum over idle: ${mebi(most)}, ${mebi(said)} in an outcome, the bound: ${mebi(bound)}`,
  )
  assert.ok(most > 0 && said > 0, 'no bomb was measured')
  assert.deepEqual(over, [])
})
