import type { Clock } from './clock.ts'
import type { Control, Controls } from './controls.ts'
import type { Sink } from './event.ts'
import type { Entry, JobFile, Language } from './job.ts'
import type {
  DisplayItem,
  Encoding,
  OmittedArtifact,
  NetworkAttempt,
  PendingWork,
} from './outcome.ts'
import type { OutcomeError } from './outcome-error.ts'
import type { Profile } from './profile.ts'
import type { Stdin } from './surroundings.ts'
import type { ExecTask, SessionFiles, SessionState } from './exec.ts'
import type { TerminalPrinter, TerminalTask, WallTerminal } from './terminal.ts'
import type { Strength, TierName } from './tier.ts'
import type { MemoryBase } from './warden.ts'
import type { ProgramZoneAbout, ZoneSplit } from './zones.ts'

export type Ability =
  /**
   * Gives a guest a network and restricts it to its grants; a wall without network needs no
   * ability.
   */
  | 'network'
  /** Lets a realm call granted capabilities. */
  | 'calls'
  /** Lets a program call granted capabilities. */
  | 'program-calls'
  /** Gives a realm host folders, through calls checked against its grants. */
  | 'folder-calls'
  /** Mounts host folders for a program. */
  | 'folders'
  | 'files'
  | 'modules'
  | 'artifacts'
  | 'pty'
  | 'freeze'
  | 'capture-memory'
  | 'capture-disk'
  | 'zones'
  /** Executables that a program starts may be zones of their own. */
  | 'program-zones'
  /** Runs a program in an image of the store, without any file of this system. */
  | 'image'
  /** Runs a realm in an image; no provider has it, because a realm has no root folder. */
  | 'realm-image'
  /** Mounts package layers for a program. */
  | 'packages'
  /** Mounts package layers for a realm. */
  | 'realm-packages'
  | 'stdin'
  /** Calls the code with several inputs in turn and reports each end separately. */
  | 'batch'
  /** Stays open and takes one exec after another. */
  | 'session'
  /** Keeps the isolate of a session in js or ts open. */
  | 'realm-session'
  /** Makes further sandboxes of one whose session is open. */
  | 'fork'
  /** Reports which functions ran: for JavaScript, and for whole programs. */
  | 'trace'
  | 'program-trace'
  /** Counts the instructions of its guest, and ends it at a limit. */
  | 'instructions'

/** A technology for one tier. Loaded on first use; its strength is proved by its probe. */
export interface Provider {
  readonly name: string
  readonly tier: TierName
  readonly languages: readonly Language[]
  /** Controls it enforces at all, and those it can tighten while a guest runs. */
  readonly enforces: readonly Control[]
  readonly tightens: readonly Control[]
  readonly can: readonly Ability[]
  /** Default image tags of its walls, by language. Absent: its walls show files of this system. */
  readonly images?: Readonly<Partial<Record<Language, string>>>
  /** Selected only by a job that names it. */
  readonly isByNameAlone?: boolean
  /** Runs a real guest under a deadline. Never throws: a failure is the reason in the result. */
  detect(): Promise<Availability>
  /**
   * Creates one sandbox for one owner. Throws MayflyError on failure, and then leaves nothing
   * behind.
   */
  launch(profile: Profile, clock: Clock, hints?: LaunchHints): Promise<Sandbox>
  /** Keeps `count` spares, also without demand; without an image, in the default root. Absent if it keeps no spares. */
  keep?(language: Language, image: string | undefined, count: number): void
  /** Destroys everything the provider keeps ready. Idempotent. */
  close?(): Promise<void>
}

/** Expectations about a job. A provider may use them to order its work, for no decision about rights or bounds. */
export interface LaunchHints {
  /** Forecast by its last run: the job is expected to take little processor time, and to end by itself. */
  readonly isShort: boolean
  /** True for code whose last run was ended by force, and on probation: other jobs come first where they want the processor. */
  readonly isBehind?: boolean
  /** The launch does not count as demand: no spare is kept because of it. */
  readonly isRare?: boolean
}

export type Availability =
  | {
      readonly available: true
      readonly strength: Strength
      /** Active layers of the wall: `user namespace`, `seccomp`, `own uid` … */
      readonly layers: readonly string[]
      /** Layers this machine lacks, and the consequence. */
      readonly missing: readonly string[]
      /** Optional features of the engine: `simd` … */
      readonly features?: readonly string[]
      /** Measured cost, if any; else the usual cost of its tier. */
      readonly cost?: Cost
    }
  | {
      readonly available: false
      readonly code: string
      readonly reason: string
      readonly fix: string
    }

/** A provider with the result of its probe. */
export interface ProvedProvider {
  readonly provider: Provider
  readonly availability: Availability
  /** File of the provider module it comes from, unless it is built in or the application's. */
  readonly module?: string
}

/** Cost of one more spare: memory while it waits, and CPU time to start it. */
export interface Cost {
  readonly spareMiB: number
  readonly refillMs: number
}

/** A live wall with one owner. Disposing destroys it: idempotent, leaves nothing. */
export interface Sandbox extends AsyncDisposable {
  readonly id: string
  readonly provider: string
  readonly image: string
  /** `hit`: taken from the pool; `miss`: started on the job's time; `none`: no pool. */
  readonly pool: 'hit' | 'miss' | 'none'
  /** The warden's id of its wall, for usage queries. */
  readonly wall?: string | undefined
  /** Bytes that the server buffers for it: artifacts, displays, unread output. */
  readonly heldBytes?: number
  /**
   * Mechanism behind each bound of its job, if that depends on the machine: `cgroup`, `watch`,
   * `none` …
   */
  readonly held?: Readonly<Record<string, string>> | undefined
  /** Controls that this sandbox can tighten while it runs, if different from its provider's. */
  readonly tightens?: readonly Control[] | undefined
  /**
   * Runs one task to its end. Called once. Never throws for errors of user code; a lost wall is
   * `failed`.
   */
  run(task: Task, io: TaskIo): Promise<TaskEnd>
  /** Resolves when the stricter controls hold. Throws CONFLICT for anything looser. */
  tighten(to: Controls, zone?: string): Promise<Enforced>
  /** Accepts execs while `run` is pending; present for a task with `session`, if the wall supports sessions. */
  readonly session?: SandboxSession | undefined
  /** Subscribes to its zones, if it has any; called before `run`. */
  listen?(listener: ZoneListener): void
  /** Ends a zone for good, if the provider has zones. */
  endZone?(zone: string): Promise<void>
  /**
   * CPU time in milliseconds since the release of user code, of the whole execution or of a zone;
   * undefined if the wall cannot report it while user code runs.
   */
  cpuTime?(zone?: string): number | undefined
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** Sends every event this wall sees from now on to `sink`. */
  watch(sink: Sink): void
  /**
   * Stops all user code but keeps the wall for a capture before the kill. A wall without this is
   * frozen instead.
   */
  hold?(): Promise<void>
  capture(): Promise<Capture>
  /** Ends user code at once and for good, from any state; `run` then resolves. Idempotent. */
  kill(cause: KillCause): void
  /** Resources freed on destroy; present after disposal. */
  readonly receipt: Receipt | undefined
}

/** Part of a zone's policy that no wall enforces in a run. */
export interface UnheldPolicy {
  /** Zone, or the name of a function. */
  readonly zone: string
  readonly phase?: string
  readonly why: string
}

/** Subscriber to zones as they start and end; never throws. */
export interface ZoneListener {
  /** `about`: only for a zone of programs. */
  began(zone: string, kind: string, about?: ProgramZoneAbout): void
  gone(zone: string, why: string, about?: { readonly peakBytes: number }): void
  /** The zone was killed without a final report: `why` names the figures that the end of the run lacks. */
  lost(zone: string, why: string): void
  /** A part of the schedule that no wall enforces in this run. */
  unheld(policy: UnheldPolicy): void
  channel(note: {
    readonly from: string
    readonly to: string
    readonly what: 'refused' | 'revoked'
    readonly why: string
  }): void
}

export type KillCause =
  /** `lifeMs`: length of a life whose phases ended early. */
  | { readonly status: 'timeout'; readonly lifeMs?: number }
  | { readonly status: 'cancelled' }
  | { readonly status: 'terminated'; readonly reason: string }
  /** `reason`: of an anomaly that ended the life before the wall held the limit. */
  | { readonly status: 'limit'; readonly code: LimitCode; readonly reason?: string }

export const limitCodes = ['MEMORY', 'CPU', 'DISK', 'PROCESSES', 'OUTPUT', 'INSTRUCTIONS'] as const
export type LimitCode = (typeof limitCodes)[number]

/** Input of a wall: bytes and names, no live objects. */
export interface Task {
  readonly run: string
  readonly language: Language
  /** Resolved entry; `auto` only for Python, whose guest has the parser to decide it. */
  readonly entry: Entry
  /** The caller requested no entry: an unserialisable result is then no failure. */
  readonly isEntryGuessed?: boolean
  /** Name of the source file; `job.js` and the like by default. */
  readonly name?: string
  /**
   * For ts: JavaScript with the same positions, or the source itself if its types cannot be erased.
   */
  readonly code: string
  /** The code is TypeScript that the wall has to transpile. */
  readonly typed?: boolean
  readonly inputText: string
  /** `erased`: TypeScript by its name, types already removed. */
  readonly files: readonly (JobFile & { readonly erased?: boolean })[]
  /** For whole programs; other walls ignore them. */
  readonly args?: readonly string[]
  /** Replaces the input as JSON. */
  readonly stdin?: Stdin
  /** Environment variables, added to the wall's own; walls without an environment ignore them. */
  readonly env?: Readonly<Record<string, string>>
  /** Names of functions of the caller that JavaScript has as globals, beside `call`. */
  readonly functions?: readonly string[]
  /** Capability names the guest may `call`. */
  readonly capabilities: readonly string[]
  /**
   * Number of calls of a batch: `inputText` is then a list of as many inputs, answered in order.
   */
  readonly calls?: number
  /** Zone of its program, if not the whole execution: observations are attributed to it. */
  readonly zone?: string
  /** Zone split of the code, for a wall that can isolate the parts. */
  readonly split?: ZoneSplit
  /** Requests a report of the functions that ran. */
  readonly trace?: boolean
  /** The sandbox stays open for execs; the code is empty. */
  readonly session?: boolean
}

/**
 * A function that ran, by its position in the task's source, in UTF-16 units; `zone` is absent for
 * `main`.
 */
export interface RanFunction {
  readonly zone?: string
  readonly start: number
  readonly end: number
  readonly calls: number
}

export interface TaskIo {
  /** A returned promise applies back-pressure to the guest's stream. Chunks are at most 64 KiB. */
  stdout(chunk: Uint8Array): void | Promise<void>
  stderr(chunk: Uint8Array): void | Promise<void>
  /** User code starts now: time 0 of its life. */
  released(): void
  /**
   * User code has stopped; the wall still waits for its own processes to report their cost. The
   * clock of the life stops now.
   */
  stopped?(): void
  /**
   * Call of a granted capability, with JSON text both ways, from the named zone if any. A throw
   * becomes an error in the guest.
   */
  call?(name: string, argsText: string, zone?: string): Promise<string>
  /**
   * A call of a batch has ended; in order, as soon as it has. The task's own end then has no
   * result.
   */
  answered?(answer: CallAnswer): void
}

/** End of one batch call that ended by itself. */
export interface CallAnswer {
  readonly status: 'ok' | 'error'
  readonly resultText: string
  readonly encoding: Encoding
  readonly error?: OutcomeError
  /** Milliseconds. */
  readonly executionTime: number
}

export interface TaskEnd {
  /** `unavailable`: never ran, because a second wall that it needs could not be started. */
  readonly status:
    | 'ok'
    | 'error'
    | 'timeout'
    | 'limit'
    | 'failed'
    | 'cancelled'
    | 'terminated'
    | 'unavailable'
  /** Unparsed JSON text, length-limited on both sides; `null` if nothing was returned. */
  readonly resultText: string
  readonly encoding: Encoding
  /** The text is not all of the result. */
  readonly isPartial?: boolean
  readonly error?: OutcomeError
  /** Claimed by the guest alone (untrusted): neither warden nor server observed this end. */
  readonly isReported?: boolean
  /** For a program that exited by itself, also at a limit. */
  readonly exitCode?: number
  readonly signal?: string
  readonly cpuTime: number
  readonly memory?: { readonly used: number; readonly peak: number; readonly absolute?: number }
  /** Instructions that it ran, if the profile limits them. */
  readonly instructions?: number
  readonly artifacts: readonly { readonly path: string; readonly bytes: Uint8Array }[]
  /** Unfinished work that the end dropped. */
  readonly pending?: PendingWork
  /** Rejected entries among the artifacts: links, pipes, files beyond the maximum. */
  readonly leftOut?: readonly OmittedArtifact[]
  /** Rich forms of its result, and its images. */
  readonly display?: readonly DisplayItem[]
  /** If requested, and the wall survived to report it. */
  readonly ran?: readonly RanFunction[]
  /** Every egress attempt, if it had an egress path. */
  readonly network?: readonly NetworkAttempt[]
}

/** End of one exec of a session. */
export interface ExecEnd {
  readonly end: TaskEnd
  readonly state: SessionState
  /** The sandbox ended under it. */
  readonly ended: boolean
  /** Milliseconds from the exec to its end. */
  readonly executionTime: number
}

/** A sandbox that takes one exec after another while its `run` goes on. */
export interface SandboxSession {
  /** Resolves when the interpreter is ready for its first exec; never, if the sandbox ends before. */
  readonly ready: Promise<void>
  /** Resolves when output that background work wrote between two execs has been read, as far as it may be in transit. */
  drain?(): Promise<void>
  /** Background work of earlier execs may print, or output of it may be unread: call `drain` before the next exec. */
  readonly mayPrint?: boolean
  /**
   * Runs one exec to its end. Resolves also for an error of its code, a timeout, an interruption by `signal`, and the end of
   * the sandbox. Throws MayflyError BUSY during another exec, SESSION_ENDED after the end of the sandbox.
   */
  exec(task: ExecTask, signal?: AbortSignal): Promise<ExecEnd>
  readonly files: SessionFiles
  /**
   * Saves it between two execs, and lets it go on: up to `children` sandboxes can be launched that go on from there. Absent for a wall
   * that cannot be copied. Throws MayflyError BUSY during an exec, a file request or a terminal, OVERLOADED, UNAVAILABLE if it cannot be
   * saved, SESSION_ENDED after the end of the sandbox.
   */
  fork?(children: number): Promise<SandboxFork>
  /**
   * Opens a terminal, concurrent with execs; absent if the wall has none. `print` receives its output; a returned promise
   * applies back-pressure. Throws MayflyError OVERLOADED above `terminalsMax`, UNAVAILABLE if the guest cannot open a pty,
   * SESSION_ENDED after the end of the sandbox.
   */
  terminal?(task: TerminalTask, print: TerminalPrinter): Promise<WallTerminal>
  /** Ends the session normally: `run` resolves with status `ok`. Idempotent. */
  close(): Promise<void>
}

/** Save of a sandbox that was forked. */
export interface SandboxFork {
  /** Milliseconds for which the parent was paused. */
  readonly pausedMs: number
  /**
   * Launches a sandbox that goes on with the session of its parent, within the bounds that the parent has now. Rejects as
   * `Provider.launch` does; nothing is left then.
   */
  launch(profile: Profile): Promise<Sandbox>
  /** Gives up those that were not launched. Idempotent. */
  close(): Promise<void>
}

/** Result of tightening, read back from the wall. */
export interface Enforced {
  readonly controls: Controls
  readonly took: number
  /** Requested controls that this wall cannot tighten while running. */
  readonly unenforced: readonly Control[]
  /** Errno returned from now on to calls of each closed class. */
  readonly answers?: Readonly<Record<string, string>>
  /** Present if `answers` is a claim of the guest's own kernel, which the host cannot verify. */
  readonly trust?: 'guest'
  /** Number of guest processes that were killed because they held an fd or mapping of a closed class. */
  readonly killed?: number
}

export interface Capture {
  readonly kind: 'none' | 'memory' | 'memory+disk'
  /** Reason for a missing or partial capture. */
  readonly why?: string
  readonly parts: readonly CapturePart[]
  /** File of this host that the captured memory is a difference to. */
  readonly base?: MemoryBase
}

export interface CapturePart {
  readonly name: string
  /** Consecutive chunks, so that no reader needs all of it in one buffer. */
  readonly bytes: readonly Uint8Array[]
  /** `guest`: reported by the guest, untrusted. Absent: copied by this host. */
  readonly trust?: 'guest'
}

export interface Receipt {
  readonly id: string
  readonly took: number
  readonly freedBytes: number
  /** Mechanisms of a forced end: `SIGKILL`, `cgroup.kill` …; empty if it exited by itself. */
  readonly forced: readonly string[]
  /** CPU time of its task in milliseconds, as counted until its wall was gone; absent where nothing counts it. */
  readonly cpuTime?: number
}
