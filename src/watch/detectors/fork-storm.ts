import type { Observation } from '../../contract/anomaly.ts'
import { type Detector, lastOf } from './detector.ts'

interface Sample {
  readonly now: number
  readonly observation: Observation
}

const samplesMax = 32

/** Process count rises faster than work needs. */
export const forkStorm: Detector<readonly Sample[]> = {
  name: 'fork-storm',
  first: [],
  see(state, observation, { foreseen, thresholds }) {
    const { seen, at } = observation
    if (seen.kind !== 'processes') return { state }
    const since = at - thresholds['fork-storm.windowMs']
    const recent = state.filter((one) => one.observation.at >= since)
    const next = lastOf(recent, { now: seen.now, observation }, samplesMax)
    const least = next.reduce((low, one) => (one.now < low.now ? one : low))
    const rise = seen.now - least.now
    if (rise < thresholds['fork-storm.rise']) return { state: next }
    const share = (name: 'manyShare' | 'nearShare') =>
      seen.now >= foreseen.processes * thresholds[`fork-storm.${name}`]
    const isMany =
      share('manyShare') ||
      rise >= thresholds['fork-storm.rise'] * thresholds['fork-storm.manyFactor']
    const reason = `${rise} more processes within ${thresholds['fork-storm.windowMs']} ms, ${seen.now} in all`
    const severity = share('nearShare') ? 'high' : isMany ? 'medium' : 'low'
    const evidence = [least.observation, observation]
    return { state: next, found: { severity, subject: 'processes', reason, evidence } }
  },
}
