import { processFacts } from '../../../os/proc.ts'
import { spentMs } from './cpu-time.ts'
import { signalAll } from '../../../os/signal.ts'
import type { WallResources } from './resources.ts'

/**
 * Keeps a wall stopped that was frozen by SIGSTOP, without a cgroup v2 freezer. A program can arrange for its own
 * SIGCONT (from a timer or a helper process), so each sample stops it again, and a wall that ran in between is ended.
 */
interface StoppedState {
  /** CPU ticks of each process at the freeze. */
  readonly ticks: ReadonlyMap<number, number>
  /** Processes of the last sample: a new one proves that a process ran and forked, even if both are gone. */
  known: ReadonlySet<number>
  /** CPU time of all processes ever in it: the only evidence of a chain of short-lived forks. */
  readonly spentMs: number
  /** Consecutive samples that found a running process. */
  awake: number
  /** Deadline of a copy of its memory, on the monotonic clock: until then a running process does not end it. */
  copyUntil: number
  hasRun: boolean
}

/** States in /proc/PID/stat: stopped, traced, zombie, dead. */
const STOPPED = new Set(['T', 't', 'Z', 'X'])
/**
 * Suspended in the kernel, as a parent by vfork until its child has its program, which a stopped child never gets. It
 * meets the SIGSTOP that it was sent before any code of its own.
 */
const SUSPENDED = 'D'
/** A process that the sentinel attaches to by ptrace runs for a moment. */
const AWAKE_MAX = 3
const TICKS_MAX = 2
/** CPU time that a parent may use while it is notified of each stopped child. */
const SPENT_MS_MAX = 50
/** Maximum duration of a copy of its memory. */
const COPY_MS_MAX = 10_000
const stopped = new WeakMap<WallResources, StoppedState>()

/** Sends SIGSTOP to those that are not stopped yet; true if none of them runs code. */
export function stopAll(pids: readonly number[]): boolean {
  const left = pids.map((pid) => [pid, stateOf(pid)] as const).filter(([, is]) => !STOPPED.has(is))
  signalAll(
    left.map(([pid]) => pid),
    'SIGSTOP',
  )
  return left.every(([, is]) => is === SUSPENDED)
}

function runs(pid: number): boolean {
  const state = stateOf(pid)
  return !STOPPED.has(state) && state !== SUSPENDED
}

function stateOf(pid: number): string {
  return processFacts(pid)?.state ?? 'X'
}

/** Baseline of a freeze. */
export function beginStop(resources: WallResources, pids: readonly number[]): void {
  const ticks = new Map(pids.map((pid) => [pid, ticksOf(pid)]))
  stopped.set(resources, {
    ticks,
    known: new Set(pids),
    spentMs: spentMs(resources),
    awake: 0,
    copyUntil: 0,
    hasRun: false,
  })
}

export function endStop(resources: WallResources): void {
  stopped.delete(resources)
}

/** Grants time for a copy of its memory, which has precedence over its end. */
export function allowCopy(resources: WallResources): void {
  const state = stopped.get(resources)
  if (state) state.copyUntil = performance.now() + COPY_MS_MAX
}

/** Stops a frozen wall again. False if it ran: the caller ends it. */
export function keepStopped(
  resources: WallResources,
  pids: readonly number[],
  now: number,
): boolean {
  const state = stopped.get(resources)
  if (!state) return true
  const isAwake = pids.some((pid) => !state.known.has(pid) || runs(pid))
  signalAll(pids, 'SIGSTOP')
  state.known = new Set(pids)
  state.awake = isAwake ? state.awake + 1 : 0
  const ran = pids.some((pid) => ticksOf(pid) - (state.ticks.get(pid) ?? 0) >= TICKS_MAX)
  const spent = spentMs(resources) - state.spentMs
  state.hasRun ||= ran || spent > SPENT_MS_MAX || state.awake >= AWAKE_MAX
  return !state.hasRun || now < state.copyUntil
}

/** Cause of its end, for the log. */
export function whyRan(resources: WallResources): string | undefined {
  return stopped.get(resources)?.hasRun ? 'it ran while it was frozen' : undefined
}

function ticksOf(pid: number): number {
  return processFacts(pid)?.cpuTicks ?? 0
}
