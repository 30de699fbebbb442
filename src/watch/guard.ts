import { randomBytes } from 'node:crypto'
import { anomalySeverities, type Anomaly } from '../contract/anomaly.ts'
import type { Clock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import type { Emitter } from '../contract/event.ts'
import { messageOf } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Profile } from '../contract/profile.ts'
import type { LifeObserver } from '../contract/pipeline.ts'
import { stricterThresholds } from '../contract/thresholds.ts'
import { type Strength, strengthOf } from '../contract/tier.ts'
import type { Verdict } from '../contract/verdict.ts'
import { type Baseline, isLearning } from './baseline.ts'
import type { BaselineStore, BaselineKey } from './baseline-store.ts'
import { foreseenOf } from './foreseen.ts'
import { type AnomalyAction, fullLimits, react, type ReactionLimits } from './react.ts'
import type { RaisedFloor, RaisedFloorStore } from './raised-floors.ts'
import { withObservation } from './trail.ts'
import { type Honeytoken, honeytokensFor } from './honeytokens.ts'
import { observeGuest, outboundCheck } from './observe-guest.ts'
import { createLifeWatcher, type LifeFindings, type LifeWatcher } from './life-watcher.ts'

/**
 * Watches all lives of a process from admission to end: runs detectors, reacts to anomalies, learns baselines. Stores
 * are opened on first use.
 */
export interface Guard {
  readonly watching: LifeWatcher
  begin(job: Job, verdict: Verdict, profile: Profile): void
  /** Honeytokens for a running job's environment and files; its output is scanned for them afterwards. */
  plantHoneytokens(run: string): readonly Honeytoken[]
  observe(): LifeObserver
  /** Check of one outgoing egress stream; undefined for a run without honeytokens. */
  outboundCheck(run: string): ((piece: Uint8Array) => boolean) | undefined
  /** Rate limit for captures of this run's code and tenant. */
  mayCapture(run: string): boolean
  /** Ends watching, with the outcome if there is one. Idempotent. */
  end(job: Job, outcome?: Outcome): void
  /** Floor raised by earlier runs of this code, with the reason. */
  floorFor(job: Pick<Job, 'tenant'>, verdict: Pick<Verdict, 'digest'>): RaisedFloor | undefined
}

export interface GuardOptions {
  readonly clock: Clock
  readonly voice: Emitter
  readonly config: () => Pick<Config, 'anomalies' | 'webhooks'>
  readonly baselines: () => BaselineStore
  readonly stronger: () => RaisedFloorStore
  /** Sends webhooks. */
  readonly notify?: ((told: { tenant: string; run: string; anomaly: Anomaly }) => void) | undefined
}

interface GuardedLife {
  readonly tenant: string
  readonly code: string
  readonly profile: Profile
  /** Undefined for code without a name. */
  readonly subject: BaselineKey | undefined
  /** Decision of the capture rate limit, made once per life. */
  capture: boolean | undefined
  isOver: boolean
}

/** Time after the end in which reports of a program are still accepted. */
export const lateMs = 500
/** Limit of the cache of subjects that have finished learning. */
const settledMax = 10_000

export function createGuard(options: GuardOptions): Guard {
  const { clock, voice } = options
  const thresholds = stricterThresholds(options.config().anomalies.thresholds)
  const watching = createLifeWatcher({ clock, voice, thresholds })
  const lives = new Map<string, GuardedLife>()
  const planted = new Map<string, readonly Honeytoken[]>()
  const settled = new Set<string>()
  const key = randomBytes(32)
  let reactions: ReactionLimits = fullLimits

  function reactTo(run: string, anomaly: Anomaly, behaviorScore: number): void {
    const life = lives.get(run)
    if (!life) return
    const { anomalies, webhooks } = options.config()
    const { stronger_from, stronger_for } = anomalies
    const rules = {
      onAnomaly: life.profile.schedule.onAnomaly,
      webhookFrom: anomalySeverities.find((word) => webhooks.some(({ from }) => from === word)),
      strongerFrom: stronger_from === 'never' ? undefined : stronger_from,
      strongerForMs: stronger_for,
    }
    const turn = react(reactions, anomaly, rules, life, clock.now())
    reactions = turn.reactions
    if (rules.onAnomaly[anomaly.severity] === 'capture')
      life.capture ??= turn.actions.some((one) => one.kind === 'life' && one.reaction === 'capture')
    for (const action of turn.actions) execute(action, run, life, behaviorScore)
  }

  /** The supervisor applies reactions to the life itself. */
  function execute(
    action: AnomalyAction,
    run: string,
    life: GuardedLife,
    behaviorScore: number,
  ): void {
    const { tenant, code, profile } = life
    const say = (fields: Record<string, unknown>) =>
      voice.say('anomaly/reacted', fields, { run, actor: 'temporal' })
    if (action.kind === 'record' && action.left) say({ reaction: action.left, left: 'too often' })
    if (action.kind === 'webhook') options.notify?.({ tenant, run, anomaly: action.anomaly })
    if (action.kind !== 'stronger') return
    const strength = Math.min(5, Math.max(profile.floor, strengthOf[profile.tier]) + 1) as Strength
    const until = clock.date() + action.forMs
    const because = `${action.because} (behavior ${behaviorScore})`
    try {
      options.stronger().raise({ tenant, code }, { strength, until, because })
      say({ reaction: 'stronger', strength, until })
    } catch (thrown) {
      say({ reaction: 'stronger', left: messageOf(thrown) })
    }
  }

  /** A run without a readable baseline is still watched: baselines are no wall. */
  function readBaseline(subject: BaselineKey, run: string): Baseline | undefined {
    try {
      return options.baselines().get(subject)
    } catch (thrown) {
      reportLost(subject, run, messageOf(thrown))
      return undefined
    }
  }

  function reportLost({ tenant, name }: BaselineKey, run: string, because: string): void {
    voice.say('baseline/lost', { tenant, name, because }, { run })
  }

  /** Learning errors are reported as events and never fail a job: its outcome exists already. */
  function learn(subject: BaselineKey, run: string, outcome: Outcome | undefined): void {
    const seen = watching.findings(run)
    try {
      learnFrom(subject, run, seen, outcome)
    } catch (thrown) {
      reportLost(subject, run, messageOf(thrown))
    }
  }

  function learnFrom(
    subject: BaselineKey,
    run: string,
    { trail, anomalies }: LifeFindings,
    outcome: Outcome | undefined,
  ): void {
    const name = JSON.stringify(subject)
    if (settled.has(name) || !outcome || !teaches(outcome)) return
    const seen = [
      { kind: 'cpu', used: outcome.metrics.cpuTime },
      { kind: 'memory', bytes: outcome.metrics.memoryUsage?.peak ?? 0 },
    ] as const
    const whole = seen.reduce((so, one) => withObservation(so, { seen: one }), trail)
    const came = options.baselines().learn(subject, whole, anomalies)
    if (came === 'done') settle(name)
    const fields = { tenant: subject.tenant, name: subject.name }
    if (came === 'learned') voice.say('baseline/learned', fields, { run })
    if (came === 'full') reportLost(subject, run, 'there is no room for another effect')
  }

  function settle(name: string): void {
    if (settled.size >= settledMax) settled.clear()
    settled.add(name)
  }

  function plantHoneytokens(run: string): readonly Honeytoken[] {
    if (!lives.has(run)) return []
    const tokens = planted.get(run) ?? honeytokensFor(key, run)
    planted.set(run, tokens)
    return tokens
  }

  const tokens = (run: string) => planted.get(run) ?? []
  const watchedParts = { watching, found: reactTo, tokens }

  return {
    watching,
    begin(job, verdict, profile) {
      const { tenant } = job
      const code = verdict.digest
      const { images, honeytokens } = options.config().anomalies
      const subject = subjectOf(job, verdict, profile, images)
      lives.set(job.id, { tenant, code, profile, subject, capture: undefined, isOver: false })
      const baseline = subject && readBaseline(subject, job.id)
      const known = baseline && !isLearning(baseline) ? baseline : undefined
      const plants = (honeytokens || profile.schedule.honeytokens) && hasHome(verdict)
      const laid = (plants ? plantHoneytokens(job.id) : []).flatMap(({ file }) => file?.path ?? [])
      const foreseen = foreseenOf(job, verdict, profile, laid)
      watching.begin(job.id, { foreseen, baseline: known })
    },
    plantHoneytokens,
    observe: () => observeGuest(watchedParts),
    mayCapture: (run) => lives.get(run)?.capture ?? true,
    outboundCheck: (run) => outboundCheck(run, watchedParts, 'egress'),
    end(job, outcome) {
      const life = lives.get(job.id)
      if (!life || life.isOver) return
      life.isOver = true
      planted.delete(job.id)
      if (life.subject) learn(life.subject, job.id, outcome)
      const forget = () => {
        lives.delete(job.id)
        watching.end(job.id)
      }
      // Kernel reports of a process wall may still be in flight.
      if (life.profile.tier === 'process' && outcome) clock.after(lateMs, forget).unref?.()
      else forget()
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

/** True for a run that executed and ended by itself. */
function teaches({ status, metrics }: Outcome): boolean {
  return (
    (status === 'ok' || status === 'error') && metrics.cache !== 'hit' && metrics.executionTime > 0
  )
}

/** Programs have a home folder; isolates have none. */
function hasHome({ language }: Verdict): boolean {
  return ['node', 'python', 'sh', 'bash'].includes(language)
}
