import { randomBytes } from 'node:crypto'
import type { Anomaly } from '../contract/anomaly.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Profile } from '../contract/profile.ts'
import type { LifeObserver } from '../contract/pipeline.ts'
import type { SandboxSession } from '../contract/provider.ts'
import { stricterThresholds } from '../contract/thresholds.ts'
import type { Verdict } from '../contract/verdict.ts'
import { isLearning } from './baseline.ts'
import { BaselineLearner } from './baseline-learner.ts'
import type { BaselineStore, BaselineKey } from './baseline-store.ts'
import { foreseenOf } from './foreseen.ts'
import type { RaisedFloor } from './raised-floors.ts'
import { createReactions, type ReactingLife, type ReactionParts } from './reactions.ts'
import { type Honeytoken, honeytokensFor } from './honeytokens.ts'
import { observeGuest, outboundCheck } from './observe-guest.ts'
import { observeSession } from './observe-session.ts'
import { createLifeWatcher, type LifeWatcher } from './life-watcher.ts'

/**
 * Watches all lives of a process from their admitted line to their end: runs detectors, reacts to anomalies, learns baselines. Stores
 * are opened on first use.
 */
export interface Guard {
  readonly watching: LifeWatcher
  begin(job: Job, verdict: Verdict, profile: Profile): void
  /** Honeytokens for a running job's environment and files; its output is scanned for them afterwards. */
  plantHoneytokens(run: string): readonly Honeytoken[]
  observe(): LifeObserver
  /** Wraps a session to scan its outputs for honeytokens, except its output streams. */
  observeSession(run: string, session: SandboxSession): SandboxSession
  /** Check of one outgoing egress stream; undefined for a run without honeytokens. */
  outboundCheck(run: string): ((piece: Uint8Array) => boolean) | undefined
  /** Rate limit for captures of this run's code and tenant. */
  mayCapture(run: string): boolean
  /** Ends watching, with the outcome if there is one. Idempotent. */
  end(job: Job, outcome?: Outcome): void
  /** Floor raised by earlier runs of this code, with the reason. */
  floorFor(job: Pick<Job, 'tenant'>, verdict: Pick<Verdict, 'digest'>): RaisedFloor | undefined
}

export interface GuardOptions extends ReactionParts {
  readonly baselines: () => BaselineStore
}

interface GuardedLife extends ReactingLife {
  /** Undefined for code without a name. */
  readonly subject: BaselineKey | undefined
  isOver: boolean
}

/** Time after the end in which reports of a program are still accepted. */
export const lateMs = 500

export function createGuard(options: GuardOptions): Guard {
  const { clock, emitter } = options
  const thresholds = stricterThresholds(options.config().anomalies.thresholds)
  const watching = createLifeWatcher({ clock, emitter, thresholds })
  const lives = new Map<string, GuardedLife>()
  const planted = new Map<string, readonly Honeytoken[]>()
  const key = randomBytes(32)
  const reactTo = createReactions(options)
  const learner = new BaselineLearner(options.baselines, emitter)

  function plantHoneytokens(run: string): readonly Honeytoken[] {
    if (!lives.has(run)) return []
    const tokens = planted.get(run) ?? honeytokensFor(key, run)
    planted.set(run, tokens)
    return tokens
  }

  const watchedParts = {
    watching,
    emitter,
    clock,
    found(run: string, anomaly: Anomaly, behaviorScore: number) {
      const life = lives.get(run)
      if (life) reactTo(run, life, anomaly, behaviorScore)
    },
    tokens: (run: string) => planted.get(run) ?? [],
  }

  return {
    watching,
    begin(job, verdict, profile) {
      const { tenant } = job
      const code = verdict.digest
      const { images, honeytokens } = options.config().anomalies
      const subject = subjectOf(job, verdict, profile, images)
      lives.set(job.id, { tenant, code, profile, subject, capture: undefined, isOver: false })
      const baseline = subject && learner.read(subject, job.id)
      const known = baseline && !isLearning(baseline) ? baseline : undefined
      const plants = (honeytokens || profile.schedule.honeytokens) && hasHome(verdict)
      const plantedPaths = (plants ? plantHoneytokens(job.id) : []).flatMap(
        ({ file }) => file?.path ?? [],
      )
      const foreseen = foreseenOf(job, verdict, profile, plantedPaths)
      watching.begin(job.id, { foreseen, baseline: known })
    },
    plantHoneytokens,
    observe: () => observeGuest(watchedParts),
    observeSession: (run, session) => observeSession(session, run, watchedParts),
    mayCapture: (run) => lives.get(run)?.capture ?? true,
    outboundCheck: (run) => outboundCheck(run, watchedParts, 'egress'),
    end(job, outcome) {
      const life = lives.get(job.id)
      if (!life || life.isOver) return
      life.isOver = true
      planted.delete(job.id)
      if (life.subject) learner.learn(life.subject, job.id, watching.findings(job.id), outcome)
      const unwatch = () => {
        lives.delete(job.id)
        watching.end(job.id)
      }
      // Kernel reports of a process wall may still be in flight.
      if (life.profile.tier === 'process' && outcome) clock.after(lateMs, unwatch).unref?.()
      else unwatch()
    },
    floorFor: ({ tenant }, { digest }) =>
      options.config().anomalies.stronger_from === 'never'
        ? undefined
        : options.stronger().floor({ tenant, code: digest }, clock.date()),
  }
}

/** Effects by name and code; if configured, all code in an image, by tier and language. */
function subjectOf(
  { tenant, asked }: Job,
  { digest, language }: Verdict,
  { image, tier }: Profile,
  images: boolean,
): BaselineKey | undefined {
  const { effectId } = asked
  if (effectId !== undefined) return { tenant, name: `effect:${effectId}`, code: digest }
  return images ? { tenant, name: `image:${image}`, code: `${tier}/${language}` } : undefined
}

/** Programs have a home folder; isolates have none. */
function hasHome({ language }: Verdict): boolean {
  return ['node', 'python', 'sh', 'bash'].includes(language)
}
