import type { Observation } from '../../contract/anomaly.ts'
import { type Detector, lastOf } from './detector.ts'

interface Shape {
  readonly last: Observation | undefined
  readonly used: number
  /** How long it has rested, and once it works, how long it had. */
  readonly idleMs: number
  readonly pinnedMs: number
  /** Shares of a core of the last samples in which it held one. */
  readonly shares: readonly number[]
  /** Connections since it began to hold a core. */
  readonly connects: number
}

const samplesMax = 32
/** Nearer samples say little: the kernel counts in steps. */
const gapMsMin = 40

/** Rest and then a whole core, or a core held as evenly as hashing holds it by code that says nothing of the kind. */
export const cpuShape: Detector<Shape> = {
  name: 'cpu-shape',
  first: { last: undefined, used: 0, idleMs: 0, pinnedMs: 0, shares: [], connects: 0 },
  see(state, observation, { foreseen, thresholds }) {
    const { seen, at } = observation
    if (seen.kind === 'connect' && state.pinnedMs > 0)
      return { state: { ...state, connects: Math.min(state.connects + 1, samplesMax) } }
    if (seen.kind !== 'cpu') return { state }
    const { last } = state
    if (!last) return { state: { ...state, last: observation, used: seen.used } }
    const gap = at - last.at
    if (gap < gapMsMin) return { state }
    const share = (seen.used - state.used) / gap / Math.min(1, foreseen.cpu || 1)
    const next = after(state, observation, { share, gap, used: seen.used, thresholds })
    const evidence = [last, observation]
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

interface Sample {
  readonly share: number
  readonly gap: number
  readonly used: number
  readonly thresholds: Parameters<(typeof cpuShape)['see']>[2]['thresholds']
}

function after(state: Shape, last: Observation, { share, gap, used, thresholds }: Sample): Shape {
  const isPinned = share >= thresholds['cpu-shape.pinnedShare']
  const isIdle = share <= thresholds['cpu-shape.idleShare']
  if (isPinned)
    return {
      ...state,
      last,
      used,
      pinnedMs: state.pinnedMs + gap,
      shares: lastOf(state.shares, share, samplesMax),
    }
  const rested = state.pinnedMs > 0 || !isIdle ? 0 : state.idleMs
  return {
    last,
    used,
    idleMs: isIdle ? rested + gap : 0,
    pinnedMs: 0,
    shares: [],
    connects: 0,
  }
}

/** Standard deviation as a share of the mean; 0 for fewer than two. */
export function spreadOf(values: readonly number[]): number {
  if (values.length < 2) return 0
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
  return mean === 0 ? Infinity : Math.sqrt(square) / mean
}
