import type { Observation } from '../../contract/anomaly.ts'
import type { Detector } from './detector.ts'

interface Shape {
  readonly last: Observation | undefined
  readonly bytes: number
  /** Size at the start of the present growth, and samples without a decrease. */
  readonly from: number
  readonly rises: number
}

/** Steady growth or a sudden step. `low`; `medium` if steady growth nears the limit. */
export const memoryShape: Detector<Shape> = {
  name: 'memory-shape',
  first: { last: undefined, bytes: 0, from: 0, rises: 0 },
  see(state, observation, { foreseen, thresholds }) {
    const { seen, at } = observation
    if (seen.kind !== 'memory') return { state }
    const { bytes } = seen
    const next = after(state, observation, bytes)
    if (!state.last || foreseen.memory <= 0) return { state: next }
    const evidence = [state.last, observation]
    const share = (size: number) => size / foreseen.memory
    const grown = share(bytes - next.from)
    const isSteady =
      next.rises >= thresholds['memory-shape.growthSamples'] &&
      grown >= thresholds['memory-shape.growthShare']
    if (isSteady) {
      const isNear = share(bytes) >= thresholds['memory-shape.nearShare']
      const reason = `Its memory grew by ${percent(grown)} of the limit in ${next.rises} samples and never fell`
      const severity = isNear ? 'medium' : 'low'
      return { state: next, found: { severity, subject: 'growth', reason, evidence } }
    }
    const step = share(bytes - state.bytes)
    const isSudden = at - state.last.at <= thresholds['memory-shape.stepMs']
    if (!isSudden || step < thresholds['memory-shape.stepShare']) return { state: next }
    const reason = `Its memory grew by ${percent(step)} of the limit at once`
    return { state: next, found: { severity: 'low', subject: 'step', reason, evidence } }
  },
}

/** Equal samples are ignored: sampling may be faster than the measurement. */
function after(state: Shape, last: Observation, bytes: number): Shape {
  if (state.last !== undefined && bytes === state.bytes) return { ...state, last }
  const isRising = state.last !== undefined && bytes > state.bytes
  return { last, bytes, from: isRising ? state.from : bytes, rises: isRising ? state.rises + 1 : 0 }
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`
}
