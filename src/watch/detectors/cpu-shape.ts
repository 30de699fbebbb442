import type { Observation } from '../../contract/anomaly.ts'
import { defaultThresholds } from '../../contract/thresholds.ts'
import { type Detector, lastOf } from './detector.ts'

interface Shape {
  readonly last: Observation | undefined
  /** Idle time before the current activity. */
  readonly idleMs: number
  /** Start of the current full load, and its duration. */
  readonly since: Observation | undefined
  readonly pinnedMs: number
  /** CPU time of that load without waits: other walls can prolong a short computation, but not increase this. */
  readonly pinnedUsed: number
  /** CPU shares of recent samples. */
  readonly shares: readonly number[]
  /** Connections since the load began. */
  readonly connects: number
  /** Time without any CPU use or run-queue wait. */
  readonly stillMs: number
}

const samplesMax = 32
/** Shorter gaps are too coarse: the kernel's CPU time advances in 10 ms ticks, and sampling may be as late. */
const gapMsMin = 180
/** Grace period before the share of a new load is judged. */
const graceMs = 600
/** A wait in progress is not counted yet: tolerance for it, and the longest time without any count. */
const uncountedMs = 150
/** Share of a core that is never idle time, whatever the threshold: else a whole core could be idle, and no load would begin. */
const idleShareMax = defaultThresholds['cpu-shape.pinnedShare']
const stillMsMax = 500

/**
 * A full core after idle time (delayed start), or an even load of a full core as in mining, in code that does not declare
 * computation. Run-queue wait counts as load, but the threshold must also be reached by CPU time alone: a neighbour that
 * takes the core can prolong a short computation, which is not an anomaly.
 */
export const cpuShape: Detector<Shape> = {
  name: 'cpu-shape',
  first: {
    last: undefined,
    idleMs: 0,
    since: undefined,
    pinnedMs: 0,
    pinnedUsed: 0,
    shares: [],
    connects: 0,
    stillMs: 0,
  },
  see(state, observation, { foreseen, thresholds }) {
    const { seen } = observation
    if (seen.kind === 'connect' && seen.part !== 'closed' && state.pinnedMs > 0)
      return { state: { ...state, connects: Math.min(state.connects + 1, samplesMax) } }
    if (seen.kind !== 'cpu') return { state }
    const { last } = state
    if (!last) return { state: { ...state, last: observation } }
    const most = Math.min(1, foreseen.cpu || 1)
    if (gapOf(last, observation) < gapMsMin) return { state }
    const next = after(state, last, observation, { most, thresholds })
    const evidence = [next.since ?? last, observation]
    const limit = (name: 'idleMs' | 'pinnedMs' | 'burnMs' | 'burnSpread') =>
      thresholds[`cpu-shape.${name}`]
    const isPinned = (name: 'pinnedMs' | 'burnMs') =>
      next.pinnedMs >= limit(name) &&
      next.pinnedUsed + uncountedMs >= limit(name) * thresholds['cpu-shape.pinnedShare'] * most
    if (next.idleMs >= limit('idleMs') && isPinned('pinnedMs')) {
      const reason = `It was idle for ${Math.round(next.idleMs)} ms, and has used a full core since`
      const severity = foreseen.computes ? 'low' : 'medium'
      return { state: next, found: { severity, subject: 'woke', reason, evidence } }
    }
    const isBurning = isPinned('burnMs') && spreadOf(next.shares) <= limit('burnSpread')
    if (!isBurning || foreseen.computes) return { state: next }
    const reason = `It has used a full core evenly for ${Math.round(next.pinnedMs)} ms, as crypto miners do`
    const severity = next.connects >= 2 ? 'medium' : 'low'
    return { state: next, found: { severity, subject: 'burn', reason, evidence } }
  },
  // Restarts at the next sample: a sample across the start of the exec would count as idle time.
  execStarted: (state) => ({ ...state, last: undefined, idleMs: 0, stillMs: 0 }),
}

interface Measure {
  /** Share of a core it may use. */
  readonly most: number
  readonly thresholds: Parameters<(typeof cpuShape)['see']>[2]['thresholds']
}

/** Uses the mean since the load began: a single sample may include its start, or a wait in progress. */
function after(
  state: Shape,
  last: Observation,
  now: Observation,
  { most, thresholds }: Measure,
): Shape {
  const { since } = state
  const gap = gapOf(last, now)
  const idleShare = Math.min(thresholds['cpu-shape.idleShare'], idleShareMax)
  const isIdle = usedOf(last, now, false) <= idleShare * gap * most
  const stillMs = isIdle && usedOf(last, now, true) === 0 ? state.stillMs + gap : 0
  const next = { ...state, last: now, stillMs }
  if (since && stillMs < stillMsMax) {
    const elapsed = gapOf(since, now)
    const least = thresholds['cpu-shape.pinnedShare'] * elapsed * most - uncountedMs
    const isHeld = usedOf(since, now, true) >= least
    if (isHeld && elapsed >= graceMs) {
      const shares = lastOf(state.shares, usedOf(last, now, true) / gap / most, samplesMax)
      return { ...next, shares, pinnedMs: elapsed, pinnedUsed: usedOf(since, now, false) }
    }
    if (elapsed < graceMs) return next
  }
  const calm = { ...next, since: undefined, pinnedMs: 0, pinnedUsed: 0, shares: [], connects: 0 }
  if (isIdle) return { ...calm, idleMs: since ? stillMs : state.idleMs + gap }
  return { ...calm, since: now, idleMs: since ? 0 : state.idleMs }
}

function gapOf(from: Observation, to: Observation): number {
  const at = ({ at, seen }: Observation) => (seen.kind === 'cpu' ? (seen.at ?? at) : at)
  return at(to) - at(from)
}

/** CPU time between two samples, optionally with run-queue wait. */
function usedOf(from: Observation, to: Observation, waits: boolean): number {
  const work = ({ seen }: Observation) =>
    seen.kind === 'cpu' ? seen.used + (waits ? (seen.waited ?? 0) : 0) : 0
  return work(to) - work(from)
}

/** Coefficient of variation; 0 for fewer than two values. */
export function spreadOf(values: readonly number[]): number {
  if (values.length < 2) return 0
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  return mean === 0 ? Infinity : Math.sqrt(square) / mean
}
