import type { Observation } from '../../contract/anomaly.ts'
import { type Detector, lastOf } from './detector.ts'

interface Shape {
  readonly last: Observation | undefined
  /** How long it has rested, and once it works, how long it had. */
  readonly idleMs: number
  /** Since when it holds a core, and until when it did. */
  readonly since: Observation | undefined
  readonly pinnedMs: number
  /** Shares of a core of the last samples since. */
  readonly shares: readonly number[]
  /** Connections since. */
  readonly connects: number
  /** For how long nothing was counted, neither work nor a wait for it. */
  readonly stillMs: number
}

const samplesMax = 32
/** Nearer samples say little: the kernel counts in steps of 10 ms, and a look may be as late. */
const gapMsMin = 180
/** What begins to hold a core is given so long until its share has to show it. */
const graceMs = 600
/** A wait that goes on is not counted yet; so much may be missing, and so long may nothing at all be counted. */
const uncountedMs = 150
const stillMsMax = 500

/**
 * Rest and then a whole core, or a core held as evenly as hashing holds it by code that says nothing of the kind. A
 * core that it would have held if others had not wanted it counts as held.
 */
export const cpuShape: Detector<Shape> = {
  name: 'cpu-shape',
  first: {
    last: undefined,
    idleMs: 0,
    since: undefined,
    pinnedMs: 0,
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
    if (next.idleMs >= limit('idleMs') && next.pinnedMs >= limit('pinnedMs')) {
      const reason = `It rested for ${Math.round(next.idleMs)} ms and has held a core since`
      const severity = foreseen.computes ? 'low' : 'medium'
      return { state: next, found: { severity, subject: 'woke', reason, evidence } }
    }
    const isBurning =
      next.pinnedMs >= limit('burnMs') && spreadOf(next.shares) <= limit('burnSpread')
    if (!isBurning || foreseen.computes) return { state: next }
    const reason = `It has held a core evenly for ${Math.round(next.pinnedMs)} ms, as mining does`
    const severity = next.connects >= 2 ? 'medium' : 'low'
    return { state: next, found: { severity, subject: 'burn', reason, evidence } }
  },
}

interface Measure {
  /** Of a core, that it may hold. */
  readonly most: number
  readonly thresholds: Parameters<(typeof cpuShape)['see']>[2]['thresholds']
}

/** By the mean since it woke: a sample alone may lie across that moment, or in a wait that is not yet counted. */
function after(
  state: Shape,
  last: Observation,
  now: Observation,
  { most, thresholds }: Measure,
): Shape {
  const { since } = state
  const gap = gapOf(last, now)
  const isIdle = usedOf(last, now, false) <= thresholds['cpu-shape.idleShare'] * gap * most
  const stillMs = isIdle && usedOf(last, now, true) === 0 ? state.stillMs + gap : 0
  const next = { ...state, last: now, stillMs }
  if (since && stillMs < stillMsMax) {
    const elapsed = gapOf(since, now)
    const least = thresholds['cpu-shape.pinnedShare'] * elapsed * most - uncountedMs
    const isHeld = usedOf(since, now, true) >= least
    if (isHeld && elapsed >= graceMs) {
      const shares = lastOf(state.shares, usedOf(last, now, true) / gap / most, samplesMax)
      return { ...next, shares, pinnedMs: elapsed }
    }
    if (elapsed < graceMs) return next
  }
  const calm = { ...next, since: undefined, pinnedMs: 0, shares: [], connects: 0 }
  if (isIdle) return { ...calm, idleMs: since ? stillMs : state.idleMs + gap }
  return { ...calm, since: now, idleMs: since ? 0 : state.idleMs }
}

function gapOf(from: Observation, to: Observation): number {
  const at = ({ at, seen }: Observation) => (seen.kind === 'cpu' ? (seen.at ?? at) : at)
  return at(to) - at(from)
}

/** Milliseconds that it worked; with what it waited for the processor, where that is known. */
function usedOf(from: Observation, to: Observation, waits: boolean): number {
  const work = ({ seen }: Observation) =>
    seen.kind === 'cpu' ? seen.used + (waits ? (seen.waited ?? 0) : 0) : 0
  return work(to) - work(from)
}

/** Standard deviation as a share of the mean; 0 for fewer than two. */
export function spreadOf(values: readonly number[]): number {
  if (values.length < 2) return 0
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  return mean === 0 ? Infinity : Math.sqrt(square) / mean
}
