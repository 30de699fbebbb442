import type { Clock } from './clock.ts'
import type { Control, Controls } from './controls.ts'
import type { Sink } from './event.ts'
import type { Entry, JobFile, Language } from './job.ts'
import type {
  DisplayItem,
  Encoding,
  LeftOut,
  NetworkAttempt,
  OutcomeError,
  Pending,
} from './outcome.ts'
import type { Profile } from './profile.ts'
import type { Stdin } from './surroundings.ts'
import type { Strength, TierName } from './tier.ts'
import type { ProgramZoneAbout, Split } from './zones.ts'

export type Ability =
  /** Gives a guest a network and holds it to what is granted; to have none at all is no ability. */
  | 'network'
  /** Lets a realm call what it was granted. */
  | 'calls'
  /** Lets a program do so. */
  | 'program-calls'
  /** Gives a realm folders of this machine, by calls that are held to what is granted. */
  | 'folder-calls'
  /** Gives a program folders of this machine. */
  | 'folders'
  | 'files'
  | 'modules'
  | 'artifacts'
  | 'pty'
  | 'fork'
  | 'freeze'
  | 'capture-memory'
  | 'capture-disk'
  | 'zones'
  /** Programs that a program executes may be zones of their own. */
  | 'program-zones'
  /** Mounts layers of packages for a program. */
  | 'packages'
  /** The same for a realm. */
  | 'realm-packages'
  | 'stdin'
  /** Takes several inputs for one code and answers each by itself. */
  | 'batch'
  /** Says which functions of a source ran: of JavaScript, and of whole programs. */
  | 'trace'
  | 'program-trace'

/** One technology for one tier. Loaded when first needed; its strength is what its probe proved. */
export interface Provider {
  readonly name: string
  readonly tier: TierName
  readonly languages: readonly Language[]
  /** The controls it enforces at all, and those it can close while a guest runs. */
  readonly enforces: readonly Control[]
  readonly tightens: readonly Control[]
  readonly can: readonly Ability[]
  /** Whether it is taken for a job that names it, and for no other. */
  readonly isByNameAlone?: boolean
  /** Runs a real guest under a time limit. Never throws: what went wrong is the reason. */
  detect(): Promise<Availability>
  /** Makes one sandbox for one owner. Throws MayflyError when it cannot; nothing is left behind then. */
  launch(profile: Profile, clock: Clock): Promise<Sandbox>
  /** Ends whatever the provider keeps ready. Idempotent. */
  close?(): Promise<void>
}

export type Availability =
  | {
      readonly available: true
      readonly strength: Strength
      /** What holds the wall up here: `user namespace`, `seccomp`, `own uid` … */
      readonly layers: readonly string[]
      /** What this machine does not give, and what that costs. */
      readonly missing: readonly string[]
      /** What its engine knows beside what every one knows: `simd` … */
      readonly features?: readonly string[]
      /** Measured here, where it was; else the usual cost of its tier counts. */
      readonly cost?: Cost
    }
  | {
      readonly available: false
      readonly code: string
      readonly reason: string
      readonly fix: string
    }

/** What one more spare costs: the memory it holds while it waits, and the processor time to make it. */
export interface Cost {
  readonly spareMiB: number
  readonly refillMs: number
}

/** One live wall with one owner. Disposing it destroys it: idempotent, and nothing is left. */
export interface Sandbox extends AsyncDisposable {
  readonly id: string
  readonly provider: string
  readonly image: string
  /** Whether it was waiting ready (`hit`) or made on the job's time (`miss`); `none` where nothing is kept. */
  readonly pool: 'hit' | 'miss' | 'none'
  /** Its wall by the warden's name, where what that uses can be asked for. */
  readonly wall?: string | undefined
  /** Bytes that the server's own process holds for it: what it left, what it shows, what nobody has read yet. */
  readonly heldBytes?: number
  /** What holds each bound of its job, where that differs from machine to machine: `cgroup`, `watch`, `none` … */
  readonly held?: Readonly<Record<string, string>>
  /** Controls that this one can close while it runs, where that differs from its provider's others. */
  readonly tightens?: readonly Control[] | undefined
  /** Runs one task to its end. Called once. Never throws for what user code does; a lost wall is `failed`. */
  run(task: Task, io: TaskIo): Promise<TaskEnd>
  /** Resolves when the stricter controls hold. Refuses (throws CONFLICT) what would loosen. */
  tighten(to: Controls, zone?: string): Promise<Enforced>
  /** Tells of its zones as they come and go, where it has any; asked before it runs. */
  listen?(listener: ZoneListener): void
  /** Ends a zone for good, where the provider has zones. */
  endZone?(zone: string): Promise<void>
  /**
   * Milliseconds of processor time since the release of user code, of the whole or of a zone, where the wall can tell
   * while it runs.
   */
  cpuTime?(zone?: string): number | undefined
  freeze(): Promise<void>
  thaw(): Promise<void>
  /** Every event this wall can see goes to `sink` from now on. */
  watch(sink: Sink): void
  /**
   * Its life is over: nothing of it runs any more, and it is still there to be looked into before it is killed. Where a
   * wall has no such end, it is frozen for that.
   */
  hold?(): Promise<void>
  capture(): Promise<Capture>
  /** Ends user code at once and for good, from any state. `run` then resolves. Idempotent. */
  kill(cause: KillCause): void
  /** What destroying it freed; present once it has been disposed. */
  readonly receipt: Receipt | undefined
}

/** Hears of zones as they come and go; never throws. */
export interface ZoneListener {
  /** `about`: of a zone of programs. */
  began(zone: string, kind: string, about?: ProgramZoneAbout): void
  gone(zone: string, why: string, about?: { readonly peakBytes: number }): void
  channel(note: {
    readonly from: string
    readonly to: string
    readonly what: 'refused' | 'revoked'
    readonly why: string
  }): void
}

export type KillCause =
  | { readonly status: 'timeout' | 'cancelled' }
  | { readonly status: 'terminated'; readonly reason: string }
  | { readonly status: 'limit'; readonly code: LimitCode }

export type LimitCode = 'MEMORY' | 'CPU' | 'DISK' | 'PROCESSES' | 'OUTPUT'

/** What a wall is given to run: bytes and names, nothing live. */
export interface Task {
  readonly run: string
  readonly language: Language
  /** Decided: `auto` of a Python alone, whose guest has the parser to decide by. */
  readonly entry: Entry
  /** Nobody asked for that entry: what cannot be given back as a result is then no failure. */
  readonly isEntryGuessed?: boolean
  /** What the source is called; `job.js` and the like unless given. */
  readonly name?: string
  /** For ts: JavaScript with the same positions, or the source itself where its types cannot be erased. */
  readonly code: string
  /** The code is TypeScript, of which the wall makes JavaScript. */
  readonly typed?: boolean
  readonly inputText: string
  /** `erased`: in TypeScript by its name, and without types. */
  readonly files: readonly (JobFile & { readonly erased?: boolean })[]
  /** Of a whole program; walls that run none leave them out. */
  readonly args?: readonly string[]
  /** In place of the input as JSON. */
  readonly stdin?: Stdin
  /** Variables of its environment, beside those of its wall's own; walls without one leave them out. */
  readonly env?: Readonly<Record<string, string>>
  /** Names the guest may `call`. */
  readonly capabilities: readonly string[]
  /** Of a batch, how many calls: `inputText` is then a list of as many inputs, answered one after the other. */
  readonly calls?: number
  /** Which zone of its program it is, where it is not the whole: what is seen of it is told of that zone. */
  readonly zone?: string
  /** How it can be taken apart, where its wall can keep the parts apart. */
  readonly split?: Split
  /** Whether it is to be told which of its functions ran. */
  readonly trace?: boolean
}

/** A function that ran, by its place in the source of the task, in UTF-16 units; `zone` where it is not the whole. */
export interface RanFunction {
  readonly zone?: string
  readonly start: number
  readonly end: number
  readonly calls: number
}

export interface TaskIo {
  /** A promise holds the guest's stream back until it settles. Chunks are at most 64 KiB. */
  stdout(chunk: Uint8Array): void | Promise<void>
  stderr(chunk: Uint8Array): void | Promise<void>
  /** User code is about to run: time 0 of its life. */
  released(): void
  /**
   * A granted capability, with arguments and answer as JSON text, asked by a zone of its program where one is named. A
   * throw becomes an error in the guest.
   */
  call?(name: string, argsText: string, zone?: string): Promise<string>
  /** One call of a batch has ended: each in its turn, as soon as it has. The task's own end then has no result. */
  answered?(answer: CallAnswer): void
}

/** How one call of a batch ended that ended by itself. */
export interface CallAnswer {
  readonly status: 'ok' | 'error'
  readonly resultText: string
  readonly encoding: Encoding
  readonly error?: OutcomeError
  /** Milliseconds. */
  readonly executionTime: number
}

export interface TaskEnd {
  /** `unavailable`: it never ran, for a wall that it needs beside this one could not be had. */
  readonly status:
    | 'ok'
    | 'error'
    | 'timeout'
    | 'limit'
    | 'failed'
    | 'cancelled'
    | 'terminated'
    | 'unavailable'
  /** JSON text, unparsed, with a length limit kept on both sides; `null` text when nothing was returned. */
  readonly resultText: string
  readonly encoding: Encoding
  readonly error?: OutcomeError
  /** Of a program that ended by itself. */
  readonly exitCode?: number
  readonly signal?: string
  readonly cpuTime: number
  readonly memory?: { readonly used: number; readonly peak: number }
  readonly artifacts: readonly { readonly path: string; readonly bytes: Uint8Array }[]
  /** Work under way that its end dropped. */
  readonly pending?: Pending
  /** What lay among the artifacts and is none: a link, a pipe, one too many. */
  readonly leftOut?: readonly LeftOut[]
  /** Rich forms of its result, and its images. */
  readonly display?: readonly DisplayItem[]
  /** Where that was asked, and its wall lived to tell. */
  readonly ran?: readonly RanFunction[]
  /** Every attempt to get out by its way out, where it had one. */
  readonly network?: readonly NetworkAttempt[]
}

/** What a tightening came to, read back from the wall itself. */
export interface Enforced {
  readonly controls: Controls
  readonly took: number
  /** Controls asked for that this wall cannot close while running. */
  readonly unenforced: readonly Control[]
  /** What calls of each class that was closed get from then on: the names of errnos. */
  readonly answers?: Readonly<Record<string, string>>
}

export interface Capture {
  readonly kind: 'none' | 'memory' | 'memory+disk'
  /** Why there is none, or not all of it. */
  readonly why?: string
  readonly parts: readonly CapturePart[]
}

export interface CapturePart {
  readonly name: string
  /** One behind the other: nobody has to hold all of it in one piece. */
  readonly bytes: readonly Uint8Array[]
}

export interface Receipt {
  readonly id: string
  readonly took: number
  readonly freedBytes: number
  /** What had to be forced: `SIGKILL`, `cgroup.kill` … empty when it went by itself. */
  readonly forced: readonly string[]
}
