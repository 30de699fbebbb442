import type { Clock } from '../contract/clock.ts'
import {
  isAtLeast,
  type Anomaly,
  type ExpectedBehavior,
  type Observation,
} from '../contract/anomaly.ts'
import type { Event, Emitter } from '../contract/event.ts'
import type { Thresholds } from '../contract/thresholds.ts'
import type { Baseline } from './baseline.ts'
import { withAnomaly, behaviorScoreOf, noAnomalies, type AnomalyCounts } from './behavior-score.ts'
import { observationOf } from './observations.ts'
import { watchActor } from './output-reports.ts'
import type { RunTrail } from './trail.ts'
import { observe, observeExecStart, initialDetection, type DetectionState } from './detection.ts'

/** Expectations for a life before it runs. */
export interface LifeExpectations {
  readonly foreseen: ExpectedBehavior
  readonly baseline?: Baseline | undefined
}

export type ObservationListener = (
  run: string,
  observation: Observation,
  watched: LifeExpectations,
) => void

/** Receives an anomaly with the score of its run. */
export type AnomalyListener = (anomaly: Anomaly, behaviorScore: number) => void

export interface LifeFindings {
  readonly trail: RunTrail
  /** The last ones above `low`, which keep a run from being learned. Claims of a guest are never among them. */
  readonly anomalies: readonly Anomaly[]
  /** Score of all anomalies, including those not kept. */
  readonly behaviorScore: number
}

interface LifeWatcherOptions {
  readonly clock: Clock
  readonly emitter: Emitter
  readonly thresholds: Thresholds
}

/** Limit of observed lives, far above what admission permits; beyond it the oldest is dropped, with an event. */
export const watchedMax = 10_000
/** Limit of anomalies kept per life for learning. */
const anomaliesKeptMax = 200

interface WatchedLife {
  readonly watched: LifeExpectations
  began: number
  watch: DetectionState
  anomalies: readonly Anomaly[]
  behavior: AnomalyCounts
  found: AnomalyListener | undefined
}

/** Detection for all lives of a process, fed by the event stream. */
export class LifeWatcher {
  readonly #options: LifeWatcherOptions
  readonly #lives = new Map<string, WatchedLife>()
  readonly #listeners = new Set<ObservationListener>()

  constructor(options: LifeWatcherOptions) {
    this.#options = options
  }

  /** Takes every event; never throws. */
  readonly sink = (event: Event): void => {
    // The watcher's own observations were handled when they were made.
    if (event.actor === watchActor || event.run === null) return
    const live = this.#lives.get(event.run)
    if (!live) return
    if (event.point === 'phase/opened' && live.began < 0) live.began = this.#options.clock.now()
    const observation = observationOf(event, this.#ageOf(live))
    if (observation) this.#handle(event.run, live, observation)
  }

  /** Starts observing a run. */
  begin(run: string, watched: LifeExpectations): void {
    if (this.#lives.size >= watchedMax) this.#dropOldest()
    const unseen = { watch: initialDetection, anomalies: [], behavior: noAnomalies }
    this.#lives.set(run, { watched, began: -1, ...unseen, found: undefined })
  }

  /** Subscribes to the anomalies of a run. */
  onAnomaly(run: string, found: AnomalyListener): void {
    const live = this.#lives.get(run)
    if (live) live.found = found
  }

  /** Adds an observation without an event: samples and output chunks. */
  observe(run: string, observation: Omit<Observation, 'at'>): void {
    const live = this.#lives.get(run)
    if (live) this.#handle(run, live, { ...observation, at: this.#ageOf(live) })
  }

  /** Records that the owner of a session started an exec in it. */
  execStarted(run: string): void {
    const live = this.#lives.get(run)
    if (live) live.watch = observeExecStart(live.watch, this.#ageOf(live))
  }

  /** Subscribes to all observations with their expectations; returns the unsubscribe function. */
  subscribe(listener: ObservationListener): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Findings so far. */
  findings(run: string): LifeFindings {
    const live = this.#lives.get(run)
    return {
      trail: (live?.watch ?? initialDetection).trail,
      anomalies: live?.anomalies ?? [],
      behaviorScore: behaviorScoreOf(live?.behavior ?? noAnomalies),
    }
  }

  /** Stops observing the run. */
  end(run: string): void {
    this.#lives.delete(run)
  }

  get size(): number {
    return this.#lives.size
  }

  #handle(run: string, live: WatchedLife, observation: Observation): void {
    for (const listener of this.#listeners) listener(run, observation, live.watched)
    const { emitter, thresholds } = this.#options
    const { foreseen, baseline } = live.watched
    const known = { foreseen, baseline, thresholds }
    const { watch, anomalies } = observe(live.watch, observation, known)
    live.watch = watch
    if (anomalies.length === 0) return
    const kept = anomalies.filter(({ severity }) => isAtLeast(severity, 'medium'))
    live.anomalies = [...live.anomalies, ...kept].slice(-anomaliesKeptMax)
    for (const anomaly of anomalies) {
      live.behavior = withAnomaly(live.behavior, anomaly)
      const score = behaviorScoreOf(live.behavior)
      emitAnomaly(emitter, run, anomaly, score)
      live.found?.(anomaly, score)
    }
  }

  /** 0 before the release of user code. */
  #ageOf({ began }: WatchedLife): number {
    return began < 0 ? 0 : this.#options.clock.now() - began
  }

  #dropOldest(): void {
    const [oldest] = this.#lives.keys()
    if (oldest === undefined) return
    this.#lives.delete(oldest)
    const fields = { severity: 'low', name: 'unwatched', reason: 'too many lives are watched' }
    this.#options.emitter.emit('anomaly/found', fields, { run: oldest, actor: 'temporal' })
  }
}

function emitAnomaly(emitter: Emitter, run: string, anomaly: Anomaly, behaviorScore: number): void {
  const { name, severity, subject, reason, zone, trust, at } = anomaly
  const evidence = anomaly.evidence.map((one) => ({ at: one.at, trust: one.trust, ...one.seen }))
  const fields: Event['fields'] = { name, severity, subject, reason, at, behaviorScore, evidence }
  emitter.emit('anomaly/found', fields, { run, zone, actor: 'temporal', trust })
}
