import type { Observation } from '../../contract/anomaly.ts'
import type { Detector } from './detector.ts'

interface Written {
  readonly paths: ReadonlyMap<string, Observation>
  /** More were written than are remembered: then all that lies where a guest may write counts. */
  readonly isFull: boolean
  /** Bytes came in from outside before something was written. */
  readonly hasReceived: boolean
}

const pathsMax = 256
const writable = /^\/(work|tmp|var\/tmp|dev\/shm|home|root)\//

/**
 * A program that runs what it wrote itself. A compiler's work is just that, so where the code shows that it starts
 * programs, it is a line; what came over the network first, or code that showed nothing of the kind, is more.
 */
export const execOfWritten: Detector<Written> = {
  name: 'exec-of-written',
  first: { paths: new Map(), isFull: false, hasReceived: false },
  see(state, observation, { foreseen }) {
    const { seen } = observation
    if (seen.kind === 'connect' && seen.received > 0)
      return { state: state.hasReceived ? state : { ...state, hasReceived: true } }
    if (seen.kind === 'open' && seen.access === 'write' && !seen.denied)
      return { state: remembered(state, seen.path, observation) }
    if (seen.kind !== 'exec') return { state }
    const write = state.paths.get(seen.path)
    if (!write && !(state.isFull && writable.test(seen.path))) return { state }
    const shown = foreseen.access?.includes('process') ?? false
    const severity = state.hasReceived ? (shown ? 'medium' : 'high') : shown ? 'low' : 'medium'
    const came = state.hasReceived ? ', after bytes came in from outside' : ''
    const reason = `It runs "${seen.path}", which it wrote itself${came}`
    const evidence = [...(write ? [write] : []), observation]
    return { state, found: { severity, subject: seen.path, reason, evidence } }
  },
}

function remembered(state: Written, path: string, observation: Observation): Written {
  if (state.paths.has(path)) return state
  if (state.paths.size >= pathsMax) return state.isFull ? state : { ...state, isFull: true }
  return { ...state, paths: new Map([...state.paths, [path, observation]]) }
}
