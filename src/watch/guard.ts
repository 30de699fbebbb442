import { randomBytes } from 'node:crypto'
import { anomalySeverities, type Anomaly } from '../contract/anomaly.ts'
import type { Clock } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import type { Emitter } from '../contract/event.ts'
import { messageOf } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { Profile } from '../contract/profile.ts'
import type { Supervisor } from '../contract/pipeline.ts'
import { stricterThresholds } from '../contract/thresholds.ts'
import { type Strength, strengthOf } from '../contract/tier.ts'
import type { Verdict } from '../contract/verdict.ts'
import { type Baseline, isLearning } from './baseline.ts'
import type { BaselineStore, Subject } from './baseline-store.ts'
import { foreseenOf } from './foreseen.ts'
import { type Action, noReactions, react, type Reactions } from './react.ts'
import type { RaisedFloor, StrongerStore } from './stronger-store.ts'
import { noted } from './trail.ts'
import { type Honeytoken, honeytokensFor } from './honeytokens.ts'
import { hearing, watched } from './watched.ts'
import { createWatching, type Seen, type Watching } from './watching.ts'

/**
 * What stands over all lives of a process: each is watched from its admission to its end, what is found is answered,
 * and what effects do is learned. Its stores are opened when first needed.
 */
export interface Guard {
  readonly watching: Watching
  begin(job: Job, verdict: Verdict, profile: Profile): void
  /**
   * Secrets for a run that was begun, for whoever makes its environment and files: from here on what the guest says is
   * searched for them.
   */
  plant(run: string): readonly Honeytoken[]
  over(supervisor: Supervisor): Supervisor
  /** Hears what leaves by its way out, stream by stream; undefined for a run without planted secrets. */
  hearing(run: string): ((piece: Uint8Array) => boolean) | undefined
  /** Whether an anomaly of this run may cost a capture: so many of one code, and of one tenant, and no more. */
  mayCapture(run: string): boolean
  /** The outcome, where there is one. Idempotent. */
  end(job: Job, outcome?: Outcome): void
  /** The floor that earlier runs of this code have earned it, and why. */
  floorFor(job: Pick<Job, 'tenant'>, verdict: Pick<Verdict, 'digest'>): RaisedFloor | undefined
}

export interface GuardOptions {
  readonly clock: Clock
  readonly voice: Emitter
  readonly config: () => Pick<Config, 'anomalies' | 'webhooks'>
  readonly baselines: () => BaselineStore
  readonly stronger: () => StrongerStore
  /** Tells whoever wants to be told outside. */
  readonly notify?: ((told: { tenant: string; run: string; anomaly: Anomaly }) => void) | undefined
}

interface Life {
  readonly tenant: string
  readonly code: string
  readonly profile: Profile
  /** Undefined for code that has no name to be known by. */
  readonly subject: Subject | undefined
  /** Whether it may be captured, once that was asked for: a word that holds for the whole life. */
  capture: boolean | undefined
  isOver: boolean
}

/** So long after its end what is told of a program is still looked at. */
export const lateMs = 500
/** Subjects whose learning is over, so that no run of them is written down any more. */
const settledMax = 10_000

export function createGuard(options: GuardOptions): Guard {
  const { clock, voice } = options
  const thresholds = stricterThresholds(options.config().anomalies.thresholds)
  const watching = createWatching({ clock, voice, thresholds })
  const lives = new Map<string, Life>()
  const planted = new Map<string, readonly Honeytoken[]>()
  const settled = new Set<string>()
  const key = randomBytes(32)
  let reactions: Reactions = noReactions

  function answer(run: string, anomaly: Anomaly, behaviorScore: number): void {
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
    for (const action of turn.actions) carryOut(action, run, life, behaviorScore)
  }

  /** The life itself is told by whoever supervises it. */
  function carryOut(action: Action, run: string, life: Life, behaviorScore: number): void {
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

  /** Without its past a run is watched all the same: a baseline is no wall. */
  function recalled(subject: Subject, run: string): Baseline | undefined {
    try {
      return options.baselines().get(subject)
    } catch (thrown) {
      lose(subject, run, messageOf(thrown))
      return undefined
    }
  }

  function lose({ tenant, name }: Subject, run: string, because: string): void {
    voice.say('baseline/lost', { tenant, name, because }, { run })
  }

  /** What cannot be learned is said, and costs no job anything: a run that is over has its outcome. */
  function learn(subject: Subject, run: string, outcome: Outcome | undefined): void {
    const seen = watching.seen(run)
    try {
      learnFrom(subject, run, seen, outcome)
    } catch (thrown) {
      lose(subject, run, messageOf(thrown))
    }
  }

  function learnFrom(
    subject: Subject,
    run: string,
    { trail, anomalies }: Seen,
    outcome: Outcome | undefined,
  ): void {
    const name = JSON.stringify(subject)
    if (settled.has(name) || !outcome || !teaches(outcome)) return
    const seen = [
      { kind: 'cpu', used: outcome.metrics.cpuTime },
      { kind: 'memory', bytes: outcome.metrics.memoryUsage?.peak ?? 0 },
    ] as const
    const whole = seen.reduce((so, one) => noted(so, { seen: one }), trail)
    const came = options.baselines().learn(subject, whole, anomalies)
    if (came === 'done') settle(name)
    const fields = { tenant: subject.tenant, name: subject.name }
    if (came === 'learned') voice.say('baseline/learned', fields, { run })
    if (came === 'full') lose(subject, run, 'there is no room for another effect')
  }

  function settle(name: string): void {
    if (settled.size >= settledMax) settled.clear()
    settled.add(name)
  }

  function plant(run: string): readonly Honeytoken[] {
    if (!lives.has(run)) return []
    const tokens = planted.get(run) ?? honeytokensFor(key, run)
    planted.set(run, tokens)
    return tokens
  }

  const tokens = (run: string) => planted.get(run) ?? []
  const watchedParts = { watching, found: answer, tokens }

  return {
    watching,
    begin(job, verdict, profile) {
      const { tenant } = job
      const code = verdict.digest
      const { images, honeytokens } = options.config().anomalies
      const subject = subjectOf(job, verdict, profile, images)
      lives.set(job.id, { tenant, code, profile, subject, capture: undefined, isOver: false })
      const baseline = subject && recalled(subject, job.id)
      const known = baseline && !isLearning(baseline) ? baseline : undefined
      const plants = (honeytokens || profile.schedule.honeytokens) && hasHome(verdict)
      const laid = (plants ? plant(job.id) : []).flatMap(({ file }) => file?.path ?? [])
      const foreseen = foreseenOf(job, verdict, profile, laid)
      watching.begin(job.id, { foreseen, baseline: known })
    },
    plant,
    over: (supervisor) => watched(supervisor, watchedParts),
    mayCapture: (run) => lives.get(run)?.capture ?? true,
    hearing: (run) => hearing(run, watchedParts, 'egress'),
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
      // What looks into a wall of the kernel may still have words of it under way.
      if (life.profile.tier === 'process' && outcome) clock.after(lateMs, forget).unref?.()
      else forget()
    },
    floorFor: ({ tenant }, { digest }) =>
      options.config().anomalies.stronger_from === 'never'
        ? undefined
        : options.stronger().floor({ tenant, code: digest }, clock.date()),
  }
}

/** An effect by its name and code; else, where that is wanted, all that runs in an image, by the language. */
function subjectOf(
  { tenant, asked }: Job,
  { digest, language }: Verdict,
  { image, tier }: Profile,
  images: boolean,
): Subject | undefined {
  const { effectId } = asked
  if (effectId !== undefined) return { tenant, name: `effect:${effectId}`, code: digest }
  return images ? { tenant, name: `image:${image}`, code: `${tier}/${language}` } : undefined
}

/** A run that was lived, and came to its own end. */
function teaches({ status, metrics }: Outcome): boolean {
  return (
    (status === 'ok' || status === 'error') && metrics.cache !== 'hit' && metrics.executionTime > 0
  )
}

/** Whole programs have a home folder; what runs in an isolate could never find a file there. */
function hasHome({ language }: Verdict): boolean {
  return ['node', 'python', 'sh', 'bash'].includes(language)
}
