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
import { createReactions, type ReactingLife, type ReactionParts } from './reactions.ts'
import { type Honeytoken, honeytokensFor } from './honeytokens.ts'
import { observeGuest, outboundCheck } from './observe-guest.ts'
import { observeSession } from './observe-session.ts'
import { LifeWatcher } from './life-watcher.ts'

export interface GuardOptions extends ReactionParts {
  readonly baselines: () => BaselineStore
}

interface GuardedLife extends ReactingLife {
  /** Undefined for code without a name. */
  readonly subject: BaselineKey | undefined
  /** Open terminals of a session and its last exec, in the order of their begin. */
  readonly begun: BegunCode[]
  /** Exec that runs. */
  exec: BegunCode | undefined
  isOver: boolean
}

interface BegunCode {
  /** Undefined for a shell. */
  readonly code: string | undefined
  readonly isExec: boolean
}

/** Time after the end in which reports of a program are still accepted. */
export const lateMs = 500

export type Guard = ReturnType<typeof createGuard>

/**
 * Watches all lives of a process from their admitted line to their end: runs detectors, reacts to anomalies, learns baselines. Stores
 * are opened on first use.
 */
export function createGuard(options: GuardOptions) {
  const { clock, emitter } = options
  const thresholds = stricterThresholds(options.config().anomalies.thresholds)
  const watching = new LifeWatcher({ clock, emitter, thresholds })
  const lives = new Map<string, GuardedLife>()
  const planted = new Map<string, readonly Honeytoken[]>()
  const key = randomBytes(32)
  const reactTo = createReactions(options)
  const learner = new BaselineLearner(options.baselines, emitter)

  function plantHoneytokens(run: string): readonly Honeytoken[] {
    if (!lives.has(run)) return []
    return planted.getOrInsertComputed(run, () => honeytokensFor(key, run))
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
    begin(job: Job, verdict: Verdict, profile: Profile): void {
      const { images, honeytokens } = options.config().anomalies
      const subject = subjectOf(job, verdict, profile, images)
      lives.set(job.id, newLife(job, verdict, profile, subject))
      const baseline = subject && learner.read(subject, job.id)
      inheritTokens(job, planted)
      const plants = (honeytokens || profile.schedule.honeytokens) && hasHome(verdict)
      watching.begin(job.id, {
        foreseen: foreseenOf(job, verdict, profile, plants ? plantHoneytokens(job.id) : []),
        baseline: baseline && !isLearning(baseline) ? baseline : undefined,
      })
    },
    /** Code of a session begins to run; the function returned tells that it has ended. */
    codeRuns(session: string, digest: string, as: 'exec' | 'terminal' | 'shell'): () => void {
      const life = lives.get(session)
      const code = as === 'shell' ? undefined : digest
      return life ? runsIn(life, { code, isExec: as === 'exec' }) : () => undefined
    },
    /** Honeytokens for a running job's environment and files; its output is scanned for them afterwards. */
    plantHoneytokens,
    observe: (): LifeObserver => observeGuest(watchedParts),
    observeSession: (run: string, one: SandboxSession) => observeSession(one, run, watchedParts),
    /** Rate limit for captures of this run's code and tenant. */
    mayCapture: (run: string) => lives.get(run)?.capture ?? true,
    outboundCheck: (run: string) => outboundCheck(run, watchedParts, 'egress'),
    /** Ends watching, with the outcome if there is one. Idempotent. */
    end(job: Job, outcome?: Outcome): void {
      const life = lives.get(job.id)
      if (!life || life.isOver) return
      life.isOver = true
      planted.delete(job.id)
      if (life.subject) learner.learn(life.subject, job.id, watching.findings(job.id), outcome)
      const unwatch = () => (lives.delete(job.id), watching.end(job.id))
      // Kernel reports of a process wall may still be in flight.
      if (life.profile.tier === 'process' && outcome) clock.after(lateMs, unwatch).unref?.()
      else unwatch()
    },
    /** Floor raised by earlier runs of this code, with the reason. */
    floorFor: ({ tenant }: Pick<Job, 'tenant'>, { digest: code }: Pick<Verdict, 'digest'>) =>
      raisesFloors(options) ? options.stronger().floor({ tenant, code }, clock.date()) : undefined,
  }
}

/**
 * Anomalies are those of the exec that runs, else of the code that began last: an exec, whose programs may go on
 * after it, or a terminal that is open. A shell has no code: a floor for its digest would be one for the shells of
 * all others, and for nothing that was typed.
 *
 * Not handled: a program that an exec left behind, and that waits until something else begins.
 */
function runsIn(life: GuardedLife, one: BegunCode): () => void {
  const { begun } = life
  const drop = (at: number) => void (at >= 0 && begun.splice(at, 1))
  const blame = () => {
    const last = life.exec ?? begun.at(-1)
    if (last) life.code = last.code
  }
  if (one.isExec) {
    drop(begun.findIndex(({ isExec }) => isExec))
    life.exec = one
  }
  begun.push(one)
  blame()
  return () => {
    if (life.exec === one) life.exec = undefined
    if (!one.isExec) drop(begun.indexOf(one))
    blame()
  }
}

function newLife(
  { tenant, session }: Job,
  { digest }: Verdict,
  profile: Profile,
  subject: BaselineKey | undefined,
): GuardedLife {
  // A session opens with an empty program, which is that of all others: each exec names the code.
  const code = session?.kind === 'open' ? undefined : digest
  const none = { begun: [], exec: undefined, capture: undefined }
  return { tenant, code, profile, subject, ...none, isOver: false }
}

const raisesFloors = ({ config }: GuardOptions) => config().anomalies.stronger_from !== 'never'

/** A child of a fork has the tokens of its parent in its memory, and gets no others. */
function inheritTokens({ id, session }: Job, planted: Map<string, readonly Honeytoken[]>): void {
  const forkOf = session?.kind === 'open' ? session.forkOf : undefined
  if (forkOf !== undefined) planted.set(id, planted.get(forkOf) ?? [])
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
