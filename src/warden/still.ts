import { processFacts } from '../os/proc.ts'
import { spentMs } from './spent.ts'
import { signalAll, type Taken } from './taken.ts'

/**
 * Keeps still what was stopped by signals, where no group of version 2 holds it. A program can have itself woken: a
 * timer of its own may send the signal that lets it go on. So it is stopped again by each look, and one that runs all
 * the same is to be ended.
 */
interface Still {
  /** Of each process, when it stood still. */
  readonly ticks: ReadonlyMap<number, number>
  /** Whoever the last look found: somebody new was made by one that ran, whether or not either still lives. */
  known: ReadonlySet<number>
  /** Processor time of all that were ever in it: a chain of processes, each over at once, is seen by nothing else. */
  readonly spentMs: number
  /** Looks in a row that found somebody running. */
  awake: number
  /** Until then it is copied, and an end would leave nothing to be copied. On the monotonic clock. */
  patientUntil: number
  hasMoved: boolean
}

/** Stopped, or dead in one of the kernel's ways. */
const STILL = new Set(['T', 't', 'Z', 'X'])
/** Whoever is looked into by its sentinel runs for a moment. */
const AWAKE_MAX = 3
const TICKS_MAX = 2
/** For whoever waits for them, and is told of each that stops. */
const SPENT_MS_MAX = 50
/** As long as a copy of its memory may take. */
const COPY_MS_MAX = 10_000
const still = new WeakMap<Taken, Still>()

export function runs(pid: number): boolean {
  return !STILL.has(processFacts(pid)?.state ?? 'X')
}

/** From here on these stand still. */
export function beginStill(taken: Taken, pids: readonly number[]): void {
  const ticks = new Map(pids.map((pid) => [pid, ticksOf(pid)]))
  still.set(taken, {
    ticks,
    known: new Set(pids),
    spentMs: spentMs(taken),
    awake: 0,
    patientUntil: 0,
    hasMoved: false,
  })
}

export function endStill(taken: Taken): void {
  still.delete(taken)
}

/** It is being copied: evidence comes before the end. */
export function beginCopy(taken: Taken): void {
  const kept = still.get(taken)
  if (kept) kept.patientUntil = performance.now() + COPY_MS_MAX
}

/** By each look at a frozen wall. False when it moved, and is to be ended. */
export function keepStill(taken: Taken, pids: readonly number[], now: number): boolean {
  const kept = still.get(taken)
  if (!kept) return true
  const isAwake = pids.some((pid) => !kept.known.has(pid) || runs(pid))
  signalAll(pids, 'SIGSTOP')
  kept.known = new Set(pids)
  kept.awake = isAwake ? kept.awake + 1 : 0
  const ran = pids.some((pid) => ticksOf(pid) - (kept.ticks.get(pid) ?? 0) >= TICKS_MAX)
  const spent = spentMs(taken) - kept.spentMs
  kept.hasMoved ||= ran || spent > SPENT_MS_MAX || kept.awake >= AWAKE_MAX
  return !kept.hasMoved || now < kept.patientUntil
}

/** Why such a wall was ended. */
export function whyMoved(taken: Taken): string | undefined {
  return still.get(taken)?.hasMoved ? 'it went on while it was frozen' : undefined
}

function ticksOf(pid: number): number {
  return processFacts(pid)?.cpuTicks ?? 0
}
