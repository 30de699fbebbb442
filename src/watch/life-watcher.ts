import type { Clock } from '../contract/clock.ts'
import type { Anomaly, ExpectedBehavior, Observation } from '../contract/anomaly.ts'
import type { Event, Sink, Emitter } from '../contract/event.ts'
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

/** Detection for all lives of a process, fed by the event stream. */
export interface LifeWatcher {
  /** Takes every event; never throws. */
  readonly sink: Sink
  /** Starts observing a run. */
  begin(run: string, watched: LifeExpectations): void
  /** Subscribes to the anomalies of a run. */
  onAnomaly(run: string, found: AnomalyListener): void
  /** Adds an observation without an event: samples and output chunks. */
  observe(run: string, observation: Omit<Observation, 'at'>): void
  /** Records that the owner of a session started an exec in it. */
  execStarted(run: string): void
  /** Subscribes to all observations with their expectations; returns the unsubscribe function. */
  subscribe(listener: ObservationListener): () => void
  /** Findings so far. */
  findings(run: string): LifeFindings
  /** Stops observing the run. */
  end(run: string): void
  readonly size: number
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
  readonly anomalies: readonly Anomaly[]
  /** Score of all anomalies, including those not kept. */
  readonly behaviorScore: number
}

export interface LifeWatcherOptions {
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

export function createLifeWatcher({ clock, emitter, thresholds }: LifeWatcherOptions): LifeWatcher {
  const lives = new Map<string, WatchedLife>()
  const listeners = new Set<ObservationListener>()

  function handle(run: string, live: WatchedLife, observation: Observation): void {
    for (const listener of listeners) listener(run, observation, live.watched)
    const { foreseen, baseline } = live.watched
    const { watch, anomalies } = observe(live.watch, observation, {
      foreseen,
      baseline,
      thresholds,
    })
    live.watch = watch
    if (anomalies.length === 0) return
    live.anomalies = [...live.anomalies, ...anomalies].slice(-anomaliesKeptMax)
    for (const anomaly of anomalies) {
      live.behavior = withAnomaly(live.behavior, anomaly)
      const score = behaviorScoreOf(live.behavior)
      emitAnomaly(emitter, run, anomaly, score)
      live.found?.(anomaly, score)
    }
  }

  return {
    sink(event) {
      // The watcher's own observations were handled when they were made.
      if (event.actor === watchActor) return
      const live = event.run === null ? undefined : lives.get(event.run)
      if (!live) return
      if (event.point === 'phase/opened' && live.began < 0) live.began = clock.now()
      const observation = observationOf(event, ageOf(live, clock))
      if (observation) handle(event.run!, live, observation)
    },
    begin(run, watched) {
      if (lives.size >= watchedMax) dropOldest(lives, emitter)
      const unseen = { watch: initialDetection, anomalies: [], behavior: noAnomalies }
      lives.set(run, { watched, began: -1, ...unseen, found: undefined })
    },
    onAnomaly(run, found) {
      const live = lives.get(run)
      if (live) live.found = found
    },
    observe(run, observation) {
      const live = lives.get(run)
      if (live) handle(run, live, { ...observation, at: ageOf(live, clock) })
    },
    execStarted(run) {
      const live = lives.get(run)
      if (live) live.watch = observeExecStart(live.watch, ageOf(live, clock))
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    findings(run) {
      const live = lives.get(run)
      return {
        trail: (live?.watch ?? initialDetection).trail,
        anomalies: live?.anomalies ?? [],
        behaviorScore: behaviorScoreOf(live?.behavior ?? noAnomalies),
      }
    },
    end: (run) => void lives.delete(run),
    get size() {
      return lives.size
    },
  }
}

/** 0 before the release of user code. */
function ageOf({ began }: WatchedLife, clock: Clock): number {
  return began < 0 ? 0 : clock.now() - began
}

function dropOldest(lives: Map<string, WatchedLife>, emitter: Emitter): void {
  const [oldest] = lives.keys()
  if (oldest === undefined) return
  lives.delete(oldest)
  const fields = { severity: 'low', name: 'unwatched', reason: 'too many lives are watched' }
  emitter.emit('anomaly/found', fields, { run: oldest, actor: 'temporal' })
}

function emitAnomaly(emitter: Emitter, run: string, anomaly: Anomaly, behaviorScore: number): void {
  const { name, severity, subject, reason, zone, trust, at } = anomaly
  const evidence = anomaly.evidence.map((one) => ({ at: one.at, trust: one.trust, ...one.seen }))
  const fields: Event['fields'] = { name, severity, subject, reason, at, behaviorScore, evidence }
  emitter.emit('anomaly/found', fields, { run, zone, actor: 'temporal', trust })
}
