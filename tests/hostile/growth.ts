import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { descendantsOf, nameOf, rssOf } from './proc.ts'

const MIB = 2 ** 20
const pollMs = 5
const settleMs = 120
const triesMax = 3

interface Growth {
  readonly bytes: number
  readonly of: string
}

/**
 * Least growth of `triesMax` runs, unless one is within the bound before: on a busy machine the poll may run late, once.
 * With each of them as text.
 */
export async function leastGrowth(
  bound: number,
  work: () => Promise<unknown>,
): Promise<{ readonly least: number; readonly told: readonly string[] }> {
  const told: string[] = []
  let least = Infinity
  while (least > bound && told.length < triesMax) {
    const { bytes, of } = await growthWhile(work)
    least = Math.min(least, bytes)
    told.push(`${mebi(bytes)} over idle, ${of}`)
  }
  return { least, told }
}

/** Largest growth over the idle size among child processes while it works. */
async function growthWhile(work: () => Promise<unknown>): Promise<Growth> {
  const idle = await settled()
  // A new process is a spare: assume the largest idle size.
  const idleOfNew = Math.max(0, ...idle.values())
  assert.ok(idleOfNew > 0, 'no child process is seen')
  let most: Growth = { bytes: 0, of: '' }
  const watch = setInterval(() => {
    for (const [pid, bytes] of sizes()) {
      const before = idle.get(pid)
      const grown = bytes - (before ?? idleOfNew)
      if (grown > most.bytes) most = { bytes: grown, of: `${before ? '' : 'a new '}${nameOf(pid)}` }
    }
  }, pollMs)
  await work().finally(() => clearInterval(watch))
  return most
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

export function mebi(bytes: number): string {
  return `${Math.round(bytes / MIB)} MiB`
}
