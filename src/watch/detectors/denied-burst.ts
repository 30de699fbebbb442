import type { Observation } from '../../contract/anomaly.ts'
import { evidenceMax } from '../../contract/anomaly.ts'
import { type Detector, lastOf } from './detector.ts'

interface Burst {
  /** Times of refusals, newest last, up to the count of the worst severity. */
  readonly times: readonly number[]
  readonly evidence: readonly Observation[]
}

/** Many refusals in a short time: probing. */
export const deniedBurst: Detector<Burst> = {
  name: 'denied-burst',
  first: { times: [], evidence: [] },
  see(state, observation, { thresholds }) {
    const { seen, at } = observation
    if (!('denied' in seen) || !seen.denied) return { state }
    const count = Math.ceil(thresholds['denied-burst.count'])
    // A factor below 1 would keep fewer times than the count that is asked for, and so find nothing.
    const high = Math.max(count, Math.ceil(count * thresholds['denied-burst.highFactor']))
    const since = at - thresholds['denied-burst.windowMs']
    const times = kept(state.times, seen.kind === 'syscall' ? seen.count : 1, at, high).filter(
      (time) => time > since,
    )
    const evidence = lastOf(state.evidence, observation, evidenceMax)
    const next = { times, evidence }
    if (times.length < count) return { state: next }
    const reason = `${times.length} refusals within ${thresholds['denied-burst.windowMs']} ms`
    const severity = times.length >= high ? 'high' : 'medium'
    return { state: next, found: { severity, subject: 'refusals', reason, evidence } }
  },
}

function kept(times: readonly number[], more: number, at: number, max: number): readonly number[] {
  const added = Array.from({ length: Math.min(Math.floor(more), max) }, () => at)
  return [...times, ...added].slice(-max)
}
