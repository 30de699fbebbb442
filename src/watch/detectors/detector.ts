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
 * Detector of one kind of anomaly. Pure: state and observation in, state and finding out. States are plain data of
 * bounded size and immutable.
 */
export interface Detector<S> {
  readonly name: AnomalyName
  readonly first: S
  see(state: S, observation: Observation, known: DetectorContext): DetectorStep<S>
  /** Called when the owner of a session starts an exec: idle time before it was not chosen by the program. */
  execStarted?(state: S, at: number): S
}

export interface DetectorStep<S> {
  readonly state: S
  readonly found?: DetectedAnomaly | undefined
}

/** Anomaly without detector, zone and time. */
export interface DetectedAnomaly {
  readonly severity: AnomalySeverity
  /** Reported once per life and subject, and again only with a higher severity. */
  readonly subject: string
  readonly reason: string
  readonly evidence: readonly Observation[]
}

/** Context available to detectors. */
export interface DetectorContext {
  readonly foreseen: ExpectedBehavior
  readonly thresholds: Thresholds
  /** Baseline of earlier runs; undefined until there are enough. */
  readonly baseline: Baseline | undefined
}

/** Running detector with its state type hidden. */
export interface RunningDetector {
  readonly state: unknown
  see(
    observation: Observation,
    known: DetectorContext,
  ): { readonly next: RunningDetector; readonly found?: Anomaly }
  execStarted(at: number): RunningDetector
}

export function startDetector<S>(
  detector: Detector<S>,
  state: S = detector.first,
): RunningDetector {
  return {
    state,
    see(observation, known) {
      const step = detector.see(state, observation, known)
      const next = step.state === state ? this : startDetector(detector, step.state)
      return step.found
        ? { next, found: anomalyOf(detector.name, step.found, observation) }
        : { next }
    },
    execStarted(at) {
      return detector.execStarted ? startDetector(detector, detector.execStarted(state, at)) : this
    },
  }
}

function anomalyOf(
  name: AnomalyName,
  found: DetectedAnomaly,
  { zone, at, trust }: Observation,
): Anomaly {
  return { ...found, name, zone, at, trust, evidence: found.evidence.slice(-evidenceMax) }
}

/** Appends and keeps the last `max`. */
export function lastOf<T>(list: readonly T[], one: T, max: number): readonly T[] {
  return [...list.slice(Math.max(0, list.length + 1 - max)), one]
}
