import assert from 'node:assert/strict'
import { after, before, suite } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { test } from '../../fixtures/drawn.ts'
import { inParallel } from '../sample.ts'
import { bounds } from './bounds.ts'
import type { ProcessCase } from './case.ts'
import { whyNotContained } from './contained.ts'
import { processCases } from './corpus.ts'
import { kernelComplaints, kernelNow, lookAtHost, watchHost, type Host } from './host.ts'
import { ProcessTrap } from './trap.ts'
import { openWalls, wallNames, type Walls } from './walls.ts'

/**
 * Host-side measurements of hostile programs, several at once: before, during, and after. The bounds are those
 * of SPECIFICATION.md; bounds of the whole host leave room for other users of it.
 */
const MIB = 2 ** 20
const atATime = 3
/** Allowance for the whole host: far less than one of these programs takes uncontained. */
const others = { tasks: 600, memory: 1_024 * MIB, disk: 1_024 * MIB } as const
/** Idle walls in the pool, with their processes. */
const waiting = { walls: 8, processes: 5, bytes: 80 * MIB } as const
/** A minute: a busy machine is slow to reap. */
const settleTriesMax = 600
/** Retries: a disturbance by others does not repeat, a violation does. */
const looksMax = 3
const betweenMs = 5_000

/** Forms of attack that the promise names, each by its plainest cases. */
const attacks: Readonly<Record<string, readonly string[]>> = {
  'a fork bomb': ['fork-doubling', 'fork-raw', 'spawn-many'],
  'ten gigabytes': ['ten-gigabytes-asked', 'many-small-objects', 'buffers'],
  'a disk filled': ['one-large-file', 'dd', 'system-folders'],
  '/proc searched': ['environment-of-others', 'kernel-settings', 'sysrq-trigger'],
  'raw sockets': ['socket-raw', 'socket-packet'],
  ptrace: ['attach-to-a-stranger', 'traced-by-its-parent'],
  mount: ['mount', 'remount'],
  io_uring: ['entry-io_uring_setup', 'by-a-new-thread'],
  kexec: ['entry-kexec_load', 'entry-kexec_file_load'],
}

let trap: ProcessTrap
let walls: Walls
before(async () => {
  trap = await ProcessTrap.set()
  walls = await openWalls()
})
after(async () => {
  await walls[Symbol.asyncDispose]()
  await trap[Symbol.asyncDispose]()
})

suite('Effects of hostile programs on the host', () => {
  for (const wall of wallNames)
    for (const [attack, names] of Object.entries(attacks))
      test(`S0-15: ${attack} on ${wall} stays within its bounds, and leaves nothing`, async (t) => {
        const absent = await walls.absent(wall)
        if (absent) return t.skip(absent)
        const cases = casesOf(names)
        // Cases with growth are repeated concurrently.
        const again = cases.filter(({ over }) => over !== undefined)
        const act = async () => {
          const found: string[] = []
          await inParallel([...cases, ...again].map(unmeasured), atATime, async (hostile) => {
            const why = await whyNotContained({ walls, wall, trap }, hostile)
            if (why) found.push(`${hostile.name}: ${why}`)
          })
          assert.deepEqual(found, [])
        }
        const ofHost: (readonly string[])[] = []
        do {
          if (ofHost.length > 0) await sleep(betweenMs)
          const seen = await seenWhile(act, (text) => t.diagnostic(`${wall}, ${attack}: ${text}`))
          assert.deepEqual(seen.filter(isOwn), [])
          ofHost.push(seen)
        } while (ofHost.at(-1)!.length > 0 && ofHost.length < looksMax)
        assert.deepEqual(ofHost.at(-1), [], JSON.stringify(ofHost))
      })
})

/** Bounds violated during the run or afterwards, and kernel complaints in that time. */
async function seenWhile(act: () => Promise<void>, tell: (text: string) => void) {
  const [quiet, since] = [lookAtHost(), kernelNow()]
  const watch = watchHost()
  await act().finally(() => watch.stop())
  const most = watch.stop()
  tell(told(quiet, most))
  const complaints = kernelComplaints(since)
  if (!complaints) tell('the log of the kernel cannot be read by this user')
  const after = over(quiet, await settled(quiet), 0)
  return [...over(quiet, most, atATime), ...after, ...(complaints ?? [])]
}

/** Bounds of the tree below this process, hence of nothing else. */
const isOwn = (bound: string): boolean => bound.startsWith('own ')

function casesOf(names: readonly string[]): readonly ProcessCase[] {
  const found = processCases.filter(({ name }) => names.includes(name))
  assert.equal(found.length, names.length, names.join())
  return found
}

/** Removes the bounds of a case that apply only when it runs alone. */
function unmeasured({ over: _over, ...rest }: ProcessCase): ProcessCase {
  return rest
}

/** Bounds violated with that many programs running. */
function over(quiet: Host, seen: Host, running: number): readonly string[] {
  const more = (name: 'tasks' | 'usedBytes' | 'diskBytes'): number => seen[name] - quiet[name]
  const idle = waiting.walls * waiting.bytes
  const limits: readonly (readonly [string, number, number])[] = [
    ['tasks of the host', more('tasks'), running * bounds.processes + others.tasks],
    ['memory of the host', more('usedBytes'), running * bounds.memoryBytes + others.memory],
    ['disk of the host', more('diskBytes'), others.disk],
    [
      'own processes',
      seen.own.processes - quiet.own.processes,
      running * bounds.processes + waiting.walls * waiting.processes,
    ],
    ['own memory', seen.own.bytes - quiet.own.bytes, running * bounds.memoryBytes + idle],
  ]
  return limits
    .filter(([, value, most]) => value > most)
    .map(([name, value, most]) => `${name}: ${value} of ${most}`)
}

function told(quiet: Host, { own, tasks, usedBytes, diskBytes }: Host): string {
  const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`
  return [
    `${own.processes - quiet.own.processes} processes and ${mib(own.bytes - quiet.own.bytes)} of its own`,
    `${tasks - quiet.tasks} tasks, ${mib(usedBytes - quiet.usedBytes)} and ${mib(diskBytes - quiet.diskBytes)} of disk of the host`,
  ].join('; ')
}

/** Polls until resources of destroyed walls are released. */
async function settled(quiet: Host): Promise<Host> {
  for (let tries = 0; tries < settleTriesMax; tries++) {
    const now = lookAtHost()
    if (over(quiet, now, 0).length === 0) return now
    await sleep(100)
  }
  return lookAtHost()
}
