import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { drawn } from '../fixtures/drawn.ts'
import { Trap } from './bait.ts'
import type { Case } from './case.ts'
import { corpus } from './corpus.ts'
import type { Library } from './mayfly.ts'
import { memoryMiB, openMayfly, runCase } from './mayfly.ts'
import { descendantsOf, nameOf, rssOf } from './proc.ts'

const MIB = 2 ** 20
/**
 * The promise: maximum growth of a worker over its idle size. Without a cgroup, polling notices a single large
 * allocation only after it is made, and kills the worker then; this much more may have been touched.
 */
const growthBytesMax = (memoryMiB * 1.25 + 32) * MIB
const unseenBytes = 32 * MIB
const pollMs = 5
const triesMax = 3
const settleMs = 120

test('A worker’s memory stays within limit × 1.25 + 32 MiB over its idle size (S3-2, S3-10)', async (t) => {
  const mayfly = await openMayfly()
  if (typeof mayfly === 'string') return t.skip(mayfly)
  await using trap = await Trap.set()
  await using library = mayfly
  await library.run({ code: 'return 1', language: 'js' })
  const bound = growthBytesMax + ((await library.hasMemoryCgroup()) ? 0 : unseenBytes)
  const over: string[] = []
  let most = 0
  for (const hostile of drawn(corpus.memory, 'bombs')) {
    const told: string[] = []
    let least = Infinity
    // On a busy machine the poll may run late, once.
    while (least > bound && told.length < triesMax) {
      const { bytes, of } = await growthOf(library, hostile, trap)
      least = Math.min(least, bytes)
      told.push(`${mebi(bytes)} over idle, ${of}`)
    }
    most = Math.max(most, least)
    if (told.length > 1) t.diagnostic(`${hostile.name}: ${told.join('; ')}`)
    if (least > bound) over.push(`${hostile.name}: ${told.join('; ')}`)
  }
  t.diagnostic(`the most over idle: ${mebi(most)}, the bound: ${mebi(bound)}`)
  assert.deepEqual(over, [])
})

/** Largest growth over the idle size among child processes while the bomb ran. */
async function growthOf(library: Library, hostile: Case, trap: Trap): Promise<Growth> {
  const idle = await settled()
  // A new process is a spare: assume the largest idle size.
  const idleOfNew = Math.max(0, ...idle.values())
  let most: Growth = { bytes: 0, of: '' }
  const watch = setInterval(() => {
    for (const [pid, bytes] of sizes()) {
      const before = idle.get(pid)
      const grown = bytes - (before ?? idleOfNew)
      if (grown > most.bytes) most = { bytes: grown, of: `${before ? '' : 'a new '}${nameOf(pid)}` }
    }
  }, pollMs)
  await runCase(library, hostile, trap.lure(hostile)).finally(() => clearInterval(watch))
  return most
}

interface Growth {
  readonly bytes: number
  readonly of: string
}

/** Idle sizes, once all processes are warm: a starting one still grows. */
async function settled(): Promise<ReadonlyMap<number, number>> {
  for (let last = sizes(); ;) {
    await setTimeout(settleMs)
    const now = sizes()
    if (now.size === last.size && [...now].every(([pid, bytes]) => last.get(pid) === bytes))
      return now
    last = now
  }
}

function sizes(): ReadonlyMap<number, number> {
  return new Map(descendantsOf(process.pid).map((pid) => [pid, rssOf(pid) ?? 0]))
}

function mebi(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`
}
