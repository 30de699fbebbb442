import type { LifeSoFar } from './captured-life.ts'
import type { Clock } from './clock.ts'
import type { Control, Controls } from './controls.ts'
import type { Event, TimelineEntry, TimelineListener } from './event.ts'
import type { CapturedFor, CapturedPart } from './evidence.ts'
import type { Status } from './exit-codes.ts'
import type { ForkParent } from './fork-parent.ts'
import type { Job } from './job.ts'
import type {
  Artifact,
  CachedFrom,
  CalledJobs,
  CallEnd,
  DisplayItem,
  Encoding,
  Outcome,
} from './outcome.ts'
import type { OutcomeError } from './outcome-error.ts'
import type { Profile } from './profile.ts'
import type {
  CallAnswer,
  Capture,
  Sandbox,
  SandboxSession,
  Task,
  TaskEnd,
  TaskIo,
  UnheldPolicy,
} from './provider.ts'
import type { Signed } from './signature.ts'
import type { TierName } from './tier.ts'
import type { Analysis, Verdict } from './verdict.ts'
import type { ProgramZoneAbout, TracedFunction, ZonesMade } from './zones.ts'

/**
 * Interfaces of the rooms as life.ts calls them: each takes a value and returns one. `assemble.ts`
 * creates them.
 */
export interface Rooms {
  readonly clock: Clock
  /**
   * Waits until the walls that this job may need were probed for the first time. Throws MayflyError INVALID for a job whose
   * output no gate could check.
   */
  ready(job: Job): Promise<void>
  /** Verifies the signatures of a job. Reads bytes, parses nothing, never throws. */
  verify(job: Job): Signed
  /**
   * Never throws for a property of the code; a crashed parser is a verdict of its own. Refused code
   * is not parsed.
   */
  analyse(job: Job, signed: Signed): Promise<Analysis>
  /** Probes walls, cheap ones first, until further results cannot change the choice for this job. */
  prove(job: Job, analysis: Analysis): Promise<void>
  /**
   * Pure. Blocks refused code, and code that asks for more than its signers allow. `within`: for an exec, its plan in the sandbox of
   * its session, with whose grants it runs.
   */
  profile(job: Job, verdict: Verdict, signed: Signed, within?: (plan: Plan) => Plan): Plan
  /**
   * Cached result of an identical idempotent job of the same tenant, else the result of `run`.
   * Rethrows its errors, and throws AbortError if the caller cancels.
   */
  recall(
    job: Job,
    profile: Profile,
    asker: OutcomeWaiter,
    run: () => Promise<LifeResult>,
  ): Promise<LifeResult>
  /**
   * Throws MayflyError (OVERLOADED, UNAVAILABLE, NO_JAIL …) if no wall can be started. `launch`: in place of the provider's, for a wall
   * that is forked.
   */
  acquire(
    profile: Profile,
    job: Job,
    analysis: Analysis,
    signal: AbortSignal,
    launch?: (profile: Profile) => Promise<Sandbox>,
  ): Promise<SandboxClaim>

  supervise(
    sandbox: Sandbox,
    profile: Profile,
    analysis: Analysis,
    caller: LifeSubscriber,
  ): Supervisor
  /** Wraps the session of a job's sandbox; searches its output and files for planted honeytokens. */
  watchSession(job: Job, session: SandboxSession): SandboxSession
  /** Anomaly score of its run so far, 0 to 100; final only when the wall is gone. */
  behaviorScore(job: Job): number
  /** Name of the last capture stored of its run, once. */
  takeBundle(job: Job): string | undefined
  /** Answers capability calls of the guest. */
  answer(
    job: Job,
    caller: { readonly signal: AbortSignal; readonly hostCalls?: HostCalls | undefined },
  ): CallHandler
  /** `calls`: number of calls of a batch. */
  gate(profile: Profile, tap?: OutputListener, calls?: number): Gate
  /** Writes the admitted line. Throws MayflyError STATE when it cannot: no record, no run. */
  recordStart(job: Job, verdict: Verdict, plan: Plan): JobEntry
  /** Emits the end of a recorded job; milliseconds since its acceptance by the pipeline. */
  ended(job: Job, outcome: Outcome, tookMs: number): void
  /** Emits the loss of a job that could not be recorded, or that a bug broke. */
  lost(job: Job, thrown: unknown, tookMs: number): void
  /** Records how a shadow run compares. Throws MayflyError STATE. */
  compared(job: Job, fields: Event['fields']): void
}

/** Rooms of sessions. */
export interface SessionRooms extends Rooms {
  /** Profile of a child of a fork, from the one planned for it. Pure; never wider than the parent. */
  forkProfile(parent: ForkParent, planned: Profile): Profile
  /**
   * Counts the network traffic of a forked run, by its id, with that of its parent, which has not ended. The function returned ends
   * that, once the child has ended.
   */
  shareTraffic(child: string, parent: string): () => void
  /** Controls that the sandbox, or else its provider, can tighten while it runs. */
  tightens(sandbox: Sandbox): readonly Control[]
  /**
   * Called when an exec or a terminal begins to run, and never for one that does not: anomalies from then on
   * are those of its code, and of no code for a shell, whose user types what runs. The function returned is
   * called at its end. An exec comes before terminals, which run beside it.
   */
  codeRuns(session: string, verdict: Verdict, as: 'exec' | 'terminal' | 'shell'): () => void
  /** Records that a session was forked. Throws MayflyError STATE. */
  forked(job: Job, fields: Event['fields']): void
}

/** Profile of a job that will run, or of a job that will not, with the reason. */
export type Plan =
  | {
      readonly kind: 'run'
      readonly profile: Profile
      /**
       * The default escalation asks for a tier that this machine lacks; the profile has the
       * strongest available.
       */
      readonly standsIn?: TierSubstitute
      /** No wall known so far closes what the schedule closes and makes the capture that is asked for. */
      readonly fallsShort?: true
    }
  | {
      readonly kind: 'blocked' | 'unavailable'
      readonly profile: Profile
      readonly error: OutcomeError
    }

/** Code in package layers, as the analysis reads it. */
export interface LayerCode {
  /** Total size of files that are code by suffix; undefined for a missing layer. */
  codeBytes(layer: string): number | undefined
  /** Files, with paths that begin with `node_modules/`. */
  read(layer: string): readonly { readonly path: string; readonly content: string }[]
  /** Stored result of an earlier analysis. */
  recall(layer: string): string | undefined
  keep(layer: string, text: string): void
}

/** A weaker wall in place of the one that the default escalation asks for. */
export interface TierSubstitute {
  readonly wanted: TierName
  readonly taken: TierName
  readonly risk: number
}

/** Result of a life. A job that never reached a wall has only a status and an error. */
export type LifeResult = { readonly status: Status } & Partial<Omit<GatedOutput, 'status'>> & {
    readonly claim?: Pick<SandboxClaim, 'queueTime' | 'startTime' | 'destroyed'> & {
      readonly sandbox: Pick<Sandbox, 'provider' | 'image' | 'pool' | 'held'> &
        Partial<Pick<Sandbox, 'receipt'>>
    }
    readonly end?: TaskEnd
    readonly executionTime?: number
    readonly teardownTime?: number
    readonly timeline?: readonly TimelineEntry[]
    readonly called?: CalledJobs | undefined
    readonly behaviorScore?: number
    readonly zones?: ZonesMade
    /** `hit`: served from the result cache; `miss`: stored in it from now on. */
    readonly cache?: 'hit' | 'miss'
    readonly cachedFrom?: CachedFrom
    /** Session of an exec, and whether the state of its interpreter was kept. */
    readonly session?: Outcome['session']
    readonly terminal?: Outcome['metrics']['terminal']
    /** Name of the last capture stored of this run. */
    readonly bundle?: string | undefined
  }

/** Caller that waits for an outcome and may cancel. */
export interface OutcomeWaiter {
  readonly signal: AbortSignal
  readonly tap?: OutputListener | undefined
}

/** A sandbox and its share of the budget; disposing releases the share. */
export interface SandboxClaim extends AsyncDisposable {
  readonly sandbox: Sandbox
  /** Milliseconds waited for admission, and for the wall. */
  readonly queueTime: number
  readonly startTime: number
  /** End of its wall, present after disposal. */
  readonly destroyed?: DestroyedWall | undefined
}

/** Destruction of a wall, from its receipt; fields that the receipt lacks are null. */
export interface DestroyedWall {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly took: number | null
  readonly freedBytes: number | null
  readonly forced: readonly string[] | null
}

/** Caller that may cancel a life, and subscribes to its timeline. */
export interface LifeSubscriber {
  readonly signal: AbortSignal
  readonly on?: ((entry: TimelineEntry) => void) | undefined
  /** Time of the clock from which its phases count; by default its release. */
  readonly since?: number | undefined
}

/** The Temporal Sandbox Manager of one life: runs it through its phases and writes its timeline. */
export interface Supervisor extends AsyncDisposable {
  run(task: Task, io: TaskListener): Promise<SupervisedRun>
  /**
   * Revokes every right that `to` does not allow. Resolves to true if the wall enforces it, and to
   * false if it cannot: the phase is then ended. A no-op for an ended life. Throws MayflyError
   * NOT_FOUND for an unknown zone, as the methods below do.
   */
  tighten(to: Controls, by: OperatorOrder): Promise<boolean>
  /** Ends the whole execution or a zone. Idempotent. */
  terminate(by: OperatorOrder): void
  /**
   * Starts a zone, with the schedule of its kind if any; no zone starts twice. Throws MayflyError
   * INVALID for a name that is empty or longer than 64 characters. `about` goes into its first
   * timeline entry.
   */
  zone(zone: string, kind: string, about?: ProgramZoneAbout): void
  /** A zone ended by itself. Idempotent. */
  gone(zone: string): void
  /** A zone ended without a report of its cost. */
  lost(zone: string, why: string): void
  /** Records a part of the schedule that no wall enforces in this run. */
  unheld(policy: UnheldPolicy): void
  /**
   * Reports an event of this life: it is counted, conditions see it, and an anomaly triggers its
   * reaction.
   */
  notice(event: Pick<Event, 'point' | 'zone' | 'fields'> & Partial<Pick<Event, 'trust'>>): void
  /** Controls in force, and the phases that are left, the current one first. */
  readonly rest: LifeRest
  /** True once user code has ended or is being ended: captures are still possible, changes are not. */
  readonly isOver: boolean
  /** State for the captures of its wall. */
  soFar(): LifeSoFar
}

/** Methods of a supervisor that its observers may call. */
export type LifeHandle = Omit<Supervisor, 'run' | 'rest' | typeof Symbol.asyncDispose>

export type LifeRest = Pick<ForkParent, 'controls' | 'phases'>

/**
 * Hooks into one life, called by its supervisor. Observers are a list: the first is the outermost, sees a task first and
 * an entry or an end last. A hook that is absent, or returns undefined, changes nothing; none throws.
 */
export interface LifeObserver {
  /** Once, before the run. `emit` delivers a timeline entry of the observer's own to those outside of it. */
  attach?(life: LifeHandle, emit: TimelineListener): void
  /** May replace the task and its listener for the observers inside of this one. */
  begin?(
    task: Task,
    io: TaskListener,
  ): { readonly task: Task; readonly io: TaskListener } | undefined
  /** May replace a timeline entry for the observers outside of this one. */
  entry?(entry: TimelineEntry, isKept: boolean): TimelineEntry | undefined
  /** May replace the finished run for the observers outside of this one. */
  end?(run: SupervisedRun): SupervisedRun
  /** Called last, also after a run that threw. */
  close?(): void
}

/** An operator's order: its actor, reason and zone; without a zone, for the whole execution. */
export interface OperatorOrder {
  readonly actor: string
  readonly reason: string
  readonly zone?: string | undefined
}

/** Receiver of the guest's output, which also answers its calls. */
export type TaskListener = Omit<TaskIo, 'released' | 'stopped'>

export interface SupervisedRun {
  readonly end: TaskEnd
  /** Milliseconds from the release of user code to its end; 0 if it was never released. */
  readonly executionTime: number
  readonly timeline: readonly TimelineEntry[]
  /** Present if zones were analysed and the wall supports them. */
  readonly zones?: ZonesMade
}

/**
 * Handler of `host.call`: runs a function of the caller for its job, if that grant was given. Arguments and answer are JSON
 * text; an exception becomes an error in the guest. The signal aborts at the end of the job.
 */
export interface HostCalls {
  (argsText: string, signal: AbortSignal): Promise<string>
  /** Names of functions that JavaScript calls as globals of its own. */
  readonly names?: readonly string[]
}

/** Answers the calls of one life; disposing cancels pending ones. */
export interface CallHandler extends Disposable {
  /** Arguments and answer are JSON text. A throw becomes an error in the guest. */
  call(name: string, argsText: string): Promise<string>
  /** Cost so far; undefined if no call was a job. */
  readonly called: CalledJobs | undefined
}

/** Output gate: checks every chunk as it flows, and the result at the end. */
export interface Gate {
  stdout(chunk: Uint8Array): void | Promise<void>
  stderr(chunk: Uint8Array): void | Promise<void>
  answered(answer: CallAnswer): void
  close(end: TaskEnd): GatedOutput
}

/**
 * Live output subscriber. A returned promise applies back-pressure to the guest. `bytes`: the output itself, only where it is
 * not UTF-8 and the text has U+FFFD for parts of it.
 */
export type OutputListener = (
  stream: 'stdout' | 'stderr',
  text: string,
  bytes?: Uint8Array,
) => void | Promise<void>

/** Gated output; status `refused` if a check of the gate failed. */
export interface GatedOutput {
  readonly status: TaskEnd['status'] | 'refused'
  readonly result: unknown
  readonly encoding: Encoding
  readonly error?: OutcomeError
  readonly calls?: readonly CallEnd[]
  readonly stdout: string
  readonly stderr: string
  readonly truncated: { readonly stdout: boolean; readonly stderr: boolean }
  readonly outputLeftOut?: Outcome['outputLeftOut']
  /** The artifacts with their bytes, if the gate added to those of the guest. */
  readonly files?: TaskEnd['artifacts']
  readonly artifacts: readonly Artifact[]
  readonly display: readonly DisplayItem[]
}

/**
 * Entry of a job in the record: its admitted line, then its ended line. `end` is called once. An entry without an ended line
 * is closed as `failed` by the next start of the server.
 */
export interface JobEntry {
  readonly seq: number
  /** Appends the ended line, before the caller is answered. */
  end(facts: {
    readonly status: Status
    readonly error?: OutcomeError
    readonly resultText: string
    readonly metrics: Outcome['metrics']
    readonly timeline: readonly TimelineEntry[]
    readonly behaviorScore: number
    readonly zones?: ZonesMade | undefined
    readonly ran?: readonly TracedFunction[] | undefined
    readonly truncated?: GatedOutput['truncated'] | undefined
    readonly destroyed?: DestroyedWall | undefined
    /** Mechanism that enforces each limit. */
    readonly enforced?: Readonly<Record<string, string>> | undefined
  }): { readonly seq: number; readonly hash: string }
}

/**
 * Stores the capture of one run; it becomes visible only when complete. Rejects with MayflyError
 * STATE.
 */
export type KeepCapture = (
  of: { readonly run: string; readonly tenant: string; readonly because: CapturedFor },
  capture: Capture,
) => Promise<readonly CapturedPart[]>
