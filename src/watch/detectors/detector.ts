import type {
  AnomalyName,
  AnomalySeverity,
  Anomaly,
  ExpectedBehavior,
  Observation,
} from '../../contract/anomaly.ts'
import { evidenceMax } from '../../contract/anomaly.ts'
import type { Baseline } from '../baseline.ts'
import type { Thresholds } from '../../contract/thresholds.ts'

/**
 * One way in which a life can look wrong. Pure: state in, state out, and now and then something found. A state is
 * plain data of bounded size, never changed in place, so that it can be kept twice and gone on from either.
 */
export interface Detector<S> {
  readonly name: AnomalyName
  readonly first: S
  see(state: S, observation: Observation, known: Known): Step<S>
}

export interface Step<S> {
  readonly state: S
  readonly found?: Found | undefined
}

/** An anomaly before it is told with its detector, zone and time. */
export interface Found {
  readonly severity: AnomalySeverity
  /** Told once in a life for each subject, and again only where it has become worse. */
  readonly subject: string
  readonly reason: string
  readonly evidence: readonly Observation[]
}

/** What detectors may look at beside what they saw. */
export interface Known {
  readonly foreseen: ExpectedBehavior
  readonly thresholds: Thresholds
  /** What earlier runs did, once there were enough of them. */
  readonly baseline: Baseline | undefined
}

/** A detector under way, its kind of state shut in. */
export interface Running {
  readonly state: unknown
  see(observation: Observation, known: Known): { readonly next: Running; readonly found?: Anomaly }
}

export function running<S>(detector: Detector<S>, state: S = detector.first): Running {
  return {
    state,
    see(observation, known) {
      const step = detector.see(state, observation, known)
      const next = step.state === state ? this : running(detector, step.state)
      return step.found ? { next, found: told(detector.name, step.found, observation) } : { next }
    },
  }
}

function told(name: AnomalyName, found: Found, { zone, at, trust }: Observation): Anomaly {
  return { ...found, name, zone, at, trust, evidence: found.evidence.slice(-evidenceMax) }
}

/** The last few of a list, with one more. */
export function lastOf<T>(list: readonly T[], one: T, max: number): readonly T[] {
  return [...list.slice(Math.max(0, list.length + 1 - max)), one]
}
