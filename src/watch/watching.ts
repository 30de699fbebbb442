import type { Clock } from '../contract/clock.ts'
import type { Anomaly, ExpectedBehavior, Observation } from '../contract/anomaly.ts'
import type { Event, Sink, Emitter } from '../contract/event.ts'
import type { Thresholds } from '../contract/thresholds.ts'
import type { Baseline } from './baseline.ts'
import { behaved, behaviorScoreOf, noBehavior, type Behavior } from './behavior-score.ts'
import { observationOf } from './seen.ts'
import type { Trail } from './trail.ts'
import { look, noWatch, type Watch } from './watch.ts'

/** What is known of a life before anything is seen of it. */
export interface Watched {
  readonly foreseen: ExpectedBehavior
  readonly baseline?: Baseline | undefined
}

/** Watches all lives of a process: reads what the one stream of events shows of each, and says what is wrong. */
export interface Watching {
  /** To be called for every event. Never throws. */
  readonly sink: Sink
  /** From here on what is said of this run is looked at. */
  begin(run: string, watched: Watched): void
  /** Each anomaly of this run goes here too, at once. */
  hear(run: string, found: Found): void
  /** What a room saw itself, without an event for it: samples, and pieces of output. */
  see(run: string, observation: Omit<Observation, 'at'>): void
  /** Passes on all that is seen, with what was foreseen, to whoever records lives; the answer takes it away again. */
  listen(listener: Listener): () => void
  /** What it did so far. */
  seen(run: string): Seen
  /** Forgets the run. */
  end(run: string): void
  readonly size: number
}

export type Listener = (run: string, observation: Observation, watched: Watched) => void

/** An anomaly, and the score of the whole run with it. */
export type Found = (anomaly: Anomaly, behaviorScore: number) => void

export interface Seen {
  readonly trail: Trail
  readonly anomalies: readonly Anomaly[]
  /** What all of them come to, also those that are not kept. */
  readonly behaviorScore: number
}

export interface WatchingOptions {
  readonly clock: Clock
  readonly voice: Emitter
  readonly thresholds: Thresholds
}

/** Lives watched at once. Admission keeps far below it; past it the oldest is no longer watched, and that is said. */
export const watchedMax = 10_000
/** Findings kept of one life, for what is learned from it. */
const keptMax = 200

interface Live {
  readonly watched: Watched
  began: number
  watch: Watch
  anomalies: readonly Anomaly[]
  behavior: Behavior
  found: Found | undefined
}

export function createWatching({ clock, voice, thresholds }: WatchingOptions): Watching {
  const lives = new Map<string, Live>()
  const listeners = new Set<Listener>()

  function take(run: string, live: Live, observation: Observation): void {
    for (const listener of listeners) listener(run, observation, live.watched)
    const { foreseen, baseline } = live.watched
    const { watch, anomalies } = look(live.watch, observation, { foreseen, baseline, thresholds })
    live.watch = watch
    if (anomalies.length === 0) return
    live.anomalies = [...live.anomalies, ...anomalies].slice(-keptMax)
    for (const anomaly of anomalies) {
      live.behavior = behaved(live.behavior, anomaly)
      const score = behaviorScoreOf(live.behavior)
      tell(voice, run, anomaly, score)
      live.found?.(anomaly, score)
    }
  }

  return {
    sink(event) {
      const live = event.run === null ? undefined : lives.get(event.run)
      if (!live) return
      if (event.point === 'phase/opened' && live.began < 0) live.began = clock.now()
      const observation = observationOf(event, ageOf(live, clock))
      if (observation) take(event.run!, live, observation)
    },
    begin(run, watched) {
      if (lives.size >= watchedMax) dropOldest(lives, voice)
      const unseen = { watch: noWatch, anomalies: [], behavior: noBehavior }
      lives.set(run, { watched, began: -1, ...unseen, found: undefined })
    },
    hear(run, found) {
      const live = lives.get(run)
      if (live) live.found = found
    },
    see(run, observation) {
      const live = lives.get(run)
      if (live) take(run, live, { ...observation, at: ageOf(live, clock) })
    },
    listen(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    seen(run) {
      const live = lives.get(run)
      return {
        trail: (live?.watch ?? noWatch).trail,
        anomalies: live?.anomalies ?? [],
        behaviorScore: behaviorScoreOf(live?.behavior ?? noBehavior),
      }
    },
    end: (run) => void lives.delete(run),
    get size() {
      return lives.size
    },
  }
}

/** 0 before the release of user code. */
function ageOf({ began }: Live, clock: Clock): number {
  return began < 0 ? 0 : clock.now() - began
}

function dropOldest(lives: Map<string, Live>, voice: Emitter): void {
  const [oldest] = lives.keys()
  if (oldest === undefined) return
  lives.delete(oldest)
  const fields = { severity: 'low', name: 'unwatched', reason: 'too many lives are watched' }
  voice.say('anomaly/found', fields, { run: oldest, actor: 'temporal' })
}

function tell(voice: Emitter, run: string, anomaly: Anomaly, behaviorScore: number): void {
  const { name, severity, subject, reason, zone, trust, at } = anomaly
  const evidence = anomaly.evidence.map((one) => ({ at: one.at, trust: one.trust, ...one.seen }))
  const fields: Event['fields'] = { name, severity, subject, reason, at, behaviorScore, evidence }
  voice.say('anomaly/found', fields, { run, zone, actor: 'temporal', trust })
}
