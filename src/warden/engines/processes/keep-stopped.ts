import { processFacts } from '../../../os/proc.ts'
import { spentMs } from './cpu-time.ts'
import { signalAll } from '../../../os/signal.ts'
import type { WallResources } from './resources.ts'

/**
 * Keeps a wall stopped that was frozen by SIGSTOP, where no cgroup v2 freezer holds it. A program can arrange for its own
 * SIGCONT (a timer or a helper sends it), so each look stops it again, and a wall that ran all the same is ended.
 */
interface Still {
  /** CPU ticks of each process at the freeze. */
  readonly ticks: ReadonlyMap<number, number>
  /** Processes of the last look: a new one was forked by one that ran, whether or not either still lives. */
  known: ReadonlySet<number>
  /** CPU time of all processes ever in it: a chain of short-lived forks shows in nothing else. */
  readonly spentMs: number
  /** Looks in a row that found a running process. */
  awake: number
  /** End of a copy of its memory, on the monotonic clock: until then it is not ended for moving. */
  patientUntil: number
  hasMoved: boolean
}

/** Stopped, or dead in one of the kernel's ways. */
const STILL = new Set(['T', 't', 'Z', 'X'])
/** A process that the sentinel attaches to by ptrace runs for a moment. */
const AWAKE_MAX = 3
const TICKS_MAX = 2
/** CPU time of a parent that is notified of each child that stops. */
const SPENT_MS_MAX = 50
/** As long as a copy of its memory may take. */
const COPY_MS_MAX = 10_000
const still = new WeakMap<WallResources, Still>()

export function runs(pid: number): boolean {
  return !STILL.has(processFacts(pid)?.state ?? 'X')
}

/** Baseline of a freeze. */
export function beginStill(resources: WallResources, pids: readonly number[]): void {
  const ticks = new Map(pids.map((pid) => [pid, ticksOf(pid)]))
  still.set(resources, {
    ticks,
    known: new Set(pids),
    spentMs: spentMs(resources),
    awake: 0,
    patientUntil: 0,
    hasMoved: false,
  })
}

export function endStill(resources: WallResources): void {
  still.delete(resources)
}

/** Grants time for a copy of its memory: evidence comes before the end. */
export function beginCopy(resources: WallResources): void {
  const kept = still.get(resources)
  if (kept) kept.patientUntil = performance.now() + COPY_MS_MAX
}

/** Stops a frozen wall again. False when it ran, and is to be ended. */
export function keepStill(resources: WallResources, pids: readonly number[], now: number): boolean {
  const kept = still.get(resources)
  if (!kept) return true
  const isAwake = pids.some((pid) => !kept.known.has(pid) || runs(pid))
  signalAll(pids, 'SIGSTOP')
  kept.known = new Set(pids)
  kept.awake = isAwake ? kept.awake + 1 : 0
  const ran = pids.some((pid) => ticksOf(pid) - (kept.ticks.get(pid) ?? 0) >= TICKS_MAX)
  const spent = spentMs(resources) - kept.spentMs
  kept.hasMoved ||= ran || spent > SPENT_MS_MAX || kept.awake >= AWAKE_MAX
  return !kept.hasMoved || now < kept.patientUntil
}

/** Cause of its end, for the log. */
export function whyMoved(resources: WallResources): string | undefined {
  return still.get(resources)?.hasMoved ? 'it went on while it was frozen' : undefined
}

function ticksOf(pid: number): number {
  return processFacts(pid)?.cpuTicks ?? 0
}
