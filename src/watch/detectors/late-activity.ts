import { accesses, type Access, type Observation } from '../../contract/anomaly.ts'
import type { Detector } from './detector.ts'
import { accessOf } from './unforeseen-access.ts'

interface ActivityState {
  readonly last: Observation | undefined
  /** Latest known activity. */
  readonly busyAt: number
  /** CPU time and run-queue wait of the last sample. */
  readonly work: number
  readonly usedAt: number
  readonly hasSamples: boolean
  /** Kinds of access used so far. */
  readonly made: readonly Access[]
}

/** First access of a new kind after a long idle time: malware waits until sandbox analysis is over. */
export const lateActivity: Detector<ActivityState> = {
  name: 'late-activity',
  first: { last: undefined, busyAt: 0, work: 0, usedAt: 0, hasSamples: false, made: [] },
  see(state, observation, { foreseen, thresholds }) {
    const { seen, at } = observation
    if (seen.kind === 'cpu') return { state: sampled(state, observation, seen, thresholds) }
    const access = accessOf(seen)
    if (!access) return { state }
    const quiet = at - state.busyAt
    const isNew = !state.made.includes(access)
    const made = accesses.filter((one) => one === access || state.made.includes(one))
    const next = { ...state, last: observation, busyAt: at, made }
    if (!isNew || quiet < thresholds['late-activity.quietMs']) return { state: next }
    const isForeseen = foreseen.access?.includes(access) ?? false
    const severity = state.hasSamples && !isForeseen ? 'medium' : 'low'
    const reason = `It was idle for ${Math.round(quiet)} ms, then made its first access of kind "${access}"`
    const evidence = [...(state.last ? [state.last] : []), observation]
    return { state: next, found: { severity, subject: access, reason, evidence } }
  },
  execStarted: (state, at) => ({ ...state, busyAt: Math.max(state.busyAt, at) }),
}

function sampled(
  state: ActivityState,
  last: Observation,
  { used, waited = 0 }: Extract<Observation['seen'], { kind: 'cpu' }>,
  thresholds: Parameters<(typeof lateActivity)['see']>[2]['thresholds'],
): ActivityState {
  const gap = last.at - state.usedAt
  if (gap <= 0) return state
  // Run-queue wait counts as activity: on a busy machine a program may get almost no CPU time.
  const work = used + waited
  const isBusy = (work - state.work) / gap > thresholds['cpu-shape.idleShare']
  return {
    ...state,
    work,
    usedAt: last.at,
    hasSamples: true,
    ...(isBusy && { last, busyAt: last.at }),
  }
}
