import type { Clock } from './clock.ts'
import type { Controls } from './controls.ts'
import type { Event, TimelineEntry } from './event.ts'
import type { CapturedFor, CapturedPart } from './evidence.ts'
import type { Job } from './job.ts'
import type {
  Artifact,
  CachedFrom,
  CalledJobs,
  CallEnd,
  DisplayItem,
  Encoding,
  Outcome,
  OutcomeError,
  Status,
} from './outcome.ts'
import type { Profile } from './profile.ts'
import type { CallAnswer, Capture, Sandbox, Task, TaskEnd, TaskIo } from './provider.ts'
import type { Signed } from './signature.ts'
import type { TierName } from './tier.ts'
import type { Analysis, Verdict } from './verdict.ts'
import type { ProgramZoneAbout, RanFunctionTold, ZonesMade } from './zones.ts'

/** The rooms as the road sees them: each takes a value and returns one. `assemble.ts` makes them. */
export interface Rooms {
  readonly clock: Clock
  /** Whose signatures it has. Reads bytes and parses nothing; throws nothing. */
  verify(job: Job): Signed
  /** Never throws for what the code is; a parser that died is a verdict that says so. What was refused is not parsed. */
  analyse(job: Job, signed: Signed): Promise<Analysis>
  /** Pure. Blocks what was refused, and what asks for more than its signers allow. */
  profile(job: Job, verdict: Verdict, signed: Signed): Plan
  /**
   * What an idempotent job of the same tenant came to that differs in nothing; else what `run` comes to. Throws what
   * that throws, and AbortError where the asker gives up waiting.
   */
  recall(job: Job, profile: Profile, asker: Asker, run: () => Promise<Lived>): Promise<Lived>
  /** Throws MayflyError (OVERLOADED, UNAVAILABLE, NO_JAIL …) when there is no wall to be had. */
  acquire(profile: Profile, job: Job, signal: AbortSignal): Promise<Claim>
  supervise(sandbox: Sandbox, profile: Profile, caller: Watcher): Supervisor
  /** 0 to 100, by what was anomalous in its run so far: what a wall tells, it may tell until it is gone. */
  behaviorScore(job: Job): number
  /** Answers what its guest calls by name. */
  answer(job: Job, caller: { readonly signal: AbortSignal }): Callee
  /** `calls`: how many a batch has. */
  gate(profile: Profile, tap?: Tap, calls?: number): Gate
  /** Writes the admitted line. Throws MayflyError STATE when it cannot: no record, no run. */
  admit(job: Job, verdict: Verdict, plan: Plan): Admission
}

/** A profile, or why there will be no run; then the profile is what it would have had. */
export type Plan =
  | {
      readonly kind: 'run'
      readonly profile: Profile
      /** The default escalation wants a wall that this machine lacks; the profile has the strongest that is here. */
      readonly standsIn?: StandIn
    }
  | {
      readonly kind: 'blocked' | 'unavailable'
      readonly profile: Profile
      readonly error: OutcomeError
    }

/** Code in layers of packages, as an analysis reads it. */
export interface LayerCode {
  /** Bytes of files that are code by their suffix; undefined for a layer that is not there. */
  codeBytes(layer: string): number | undefined
  /** By paths that begin with `node_modules/`. */
  read(layer: string): readonly { readonly path: string; readonly content: string }[]
  /** What was kept of an earlier analysis. */
  recall(layer: string): string | undefined
  keep(layer: string, text: string): void
}

/** A weaker wall in the place of the one that the default escalation wants. */
export interface StandIn {
  readonly wanted: TierName
  readonly taken: TierName
  readonly risk: number
}

/** What a life came to. A job that never reached a wall has a status and an error, and nothing else. */
export type Lived = { readonly status: Status } & Partial<Omit<Gated, 'status'>> & {
    readonly claim?: Pick<Claim, 'queueTime' | 'startTime'> & {
      readonly sandbox: Pick<Sandbox, 'provider' | 'image' | 'pool' | 'held'>
    }
    readonly end?: TaskEnd
    readonly executionTime?: number
    readonly teardownTime?: number
    readonly timeline?: readonly TimelineEntry[]
    readonly called?: CalledJobs | undefined
    readonly behaviorScore?: number
    readonly zones?: ZonesMade
    /** Whether it was lived before, for an earlier job, or may be given again from now on. */
    readonly cache?: 'hit' | 'miss'
    readonly cachedFrom?: CachedFrom
  }

/** Who waits for an outcome, and hears it. */
export interface Asker {
  readonly signal: AbortSignal
  readonly tap?: Tap | undefined
}

/** A sandbox and its place under the budget; disposing gives the place back. */
export interface Claim extends AsyncDisposable {
  readonly sandbox: Sandbox
  /** Milliseconds waited for a place, and for the wall. */
  readonly queueTime: number
  readonly startTime: number
}

/** Who may cancel a life, and hears its timeline as it is written. */
export interface Watcher {
  readonly signal: AbortSignal
  readonly on?: ((entry: TimelineEntry) => void) | undefined
}

/** The Temporal Sandbox Manager of one life: runs it through its phases and writes its timeline. */
export interface Supervisor extends AsyncDisposable {
  run(task: Task, io: Listener): Promise<Supervised>
  /**
   * Takes away for good what `to` does not allow; nothing can give it back. Resolves to whether the wall holds it; where
   * it does not, the phase is over. Of a life that is over there is nothing left to take. Throws MayflyError NOT_FOUND
   * for a zone that never was, as the others do.
   */
  tighten(to: Controls, by: Order): Promise<boolean>
  /** Ends the whole or a zone. Idempotent. */
  terminate(by: Order): void
  /**
   * A zone begins, with the schedule of its kind where there is one; no zone begins twice. Throws MayflyError INVALID
   * for a name without or with more than 64 characters. `about` stands in its first line.
   */
  zone(zone: string, kind: string, about?: ProgramZoneAbout): void
  /** A zone ended by itself. Idempotent. */
  gone(zone: string): void
  /** Something happened in this life: it is counted, conditions see it, and an anomaly is answered. */
  notice(event: Pick<Event, 'point' | 'zone' | 'fields'>): void
  /** Its user code has ended, or is being ended: it may still be looked into, and nothing changes it any more. */
  readonly isOver: boolean
}

/** Who orders something of a life, why, and of which zone; without one, of the whole. */
export interface Order {
  readonly actor: string
  readonly reason: string
  readonly zone?: string | undefined
}

/** Who hears what the guest says and answers its calls. */
export type Listener = Omit<TaskIo, 'released'>

export interface Supervised {
  readonly end: TaskEnd
  /** Milliseconds from the release of user code to its end; 0 when it was never released. */
  readonly executionTime: number
  readonly timeline: readonly TimelineEntry[]
  /** Where it was looked at for zones, and its wall can have them. */
  readonly zones?: ZonesMade
}

/** Who answers the calls of one life; disposing it ends those under way. */
export interface Callee extends Disposable {
  /** Arguments and answer as JSON text. A throw becomes an error in the guest. */
  call(name: string, argsText: string): Promise<string>
  /** What that took so far; undefined where no call was a job. */
  readonly called: CalledJobs | undefined
}

/** What leaves: the incremental half sees every chunk, the other half the end. */
export interface Gate {
  stdout(chunk: Uint8Array): void | Promise<void>
  stderr(chunk: Uint8Array): void | Promise<void>
  answered(answer: CallAnswer): void
  close(end: TaskEnd): Gated
}

/** Who listens while it runs. A promise holds the guest back. */
export type Tap = (stream: 'stdout' | 'stderr', text: string) => void | Promise<void>

/** What may leave, after the gate: `refused` when the output broke the contract. */
export interface Gated {
  readonly status: TaskEnd['status'] | 'refused'
  readonly result: unknown
  readonly encoding: Encoding
  readonly error?: OutcomeError
  readonly calls?: readonly CallEnd[]
  readonly stdout: string
  readonly stderr: string
  readonly truncated: { readonly stdout: boolean; readonly stderr: boolean }
  readonly artifacts: readonly Artifact[]
  readonly display: readonly DisplayItem[]
}

/** An admitted job in the record. Ended once; left open it is closed as `failed` at the next start. */
export interface Admission {
  readonly seq: number
  /** Appends the ended line, before anybody is answered. */
  end(facts: {
    readonly status: Status
    readonly error?: OutcomeError
    readonly resultText: string
    readonly metrics: Outcome['metrics']
    readonly timeline: readonly TimelineEntry[]
    readonly behaviorScore: number
    readonly zones?: ZonesMade | undefined
    readonly ran?: readonly RanFunctionTold[] | undefined
  }): { readonly seq: number; readonly hash: string }
}

/** Keeps what a wall had to show of one run; none of it is known before all of it is kept. Rejects with MayflyError STATE. */
export type KeepCapture = (
  of: { readonly run: string; readonly tenant: string; readonly because: CapturedFor },
  capture: Capture,
) => Promise<readonly CapturedPart[]>
