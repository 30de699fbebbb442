import type { Server, Socket } from 'node:net'
import type { MachineSave } from './machine-save.ts'
import type {
  CallPhase,
  SeenReport,
  ClosedCallsState,
  CaptureProgress,
  ConnectionEnds,
  BoundMechanisms,
  LimitHit,
  SentinelState,
  StreamName,
  Wall,
  WallExit,
  WallUsage,
  WardenFacts,
  ZoneReport,
} from './warden.ts'
import type { Request } from './warden-request.ts'
import type { ZoneBounds, ZoneRule } from './zone-rules.ts'

/**
 * The seam between the warden and the mechanisms that make walls. An engine is one mechanism (host processes in
 * namespaces, a user-space kernel, a hypervisor …); an enclosure is one live wall that it made, addressed by an id. The warden
 * keeps ids, states, tenants, deadlines and leases; pids, cgroups, monitor sockets and state files stay inside the engine.
 *
 * Order of calls, which the warden asserts:
 *
 *     start ─► claim ─► tighten* ─► kill ─► ended ─► dispose
 *                └─ rearm ─► … (an enclosure that is not single-use, the same tenant only)
 *
 * Relied on: an engine bounds each wait inside its methods, and reads back each limit that it sets. Bounds only fall:
 * no method of an enclosure raises one within a job. Not handled here: bytes of the job; they flow from the sockets of
 * `handOver` to the server and never through the warden.
 *
 * Errors: methods throw MayflyError (UNAVAILABLE: this machine cannot; NOT_FOUND: no such zone or layer; OVERLOADED: no
 * uid or file descriptor is left). Any other throw of `claim` or `tighten` says that a bound does not hold.
 */

/** A name in the table of engines, `src/warden/engines/index.ts`. */
export type EngineName = string

/** Opens an engine. Synchronous, because the first walls are started before the rest of Mayfly is loaded. */
export type OpenEngine = (options: EngineOptions, host: EngineHost) => Engine

export interface EngineOptions {
  /** Jail kind to use if both are available. */
  readonly prefer?: 'embedded' | 'bubblewrap'
  /** For tests: programs and layers of this machine to treat as missing. */
  readonly hide?: readonly string[]
  /** For tests: layers left out, by their names in `Wall.layers`, to show that the others hold. */
  readonly without?: readonly string[]
  /** Whether whole programs get a sentinel if the engine can make one; by default MAYFLY_SENTINEL decides. */
  readonly sentinel?: boolean
  /** `off` forks no program from a template, `all` has the first one wait for it; by default MAYFLY_TEMPLATES decides. */
  readonly templates?: 'all' | 'off'
  /** For tests: the folder that caches the sentinel's program. */
  readonly sentinelFolder?: string
  /** For tests: a program in place of macOS' `sandbox-exec`, also on another system. */
  readonly sandboxExec?: string
  /** For tests: state folder with the images of machines, in place of the warden's own. */
  readonly imageState?: string
  /** Milliseconds an enclosure has to become ready; 15,000 by default. */
  readonly readyMsMax?: number
}

/** The warden as an engine sees it. */
export interface EngineHost {
  /**
   * Writes, or overwrites, the lease of an enclosure: data by which `Engine.sweep` of a later warden finds its remains.
   * Called before the first foreign instruction runs, and again when the data changes. If it throws, the start fails.
   */
  lease(enclosure: string, remains: Remains): void
  /** Removes the lease; called once nothing is left. */
  releaseLease(enclosure: string): void
  /** Passes an observation on to the server. */
  report(report: EngineReport): void
  /** State folder; resolves once it is known. */
  state(): Promise<string>
}

/** The engine's own JSON, stored in the lease. Its keys must differ from those of the lease. */
export type Remains = Readonly<Record<string, unknown>>

export type EngineReport =
  | { readonly of: string; readonly seen: SeenReport }
  | { readonly of: string; readonly zone: ZoneReport }
  | { readonly sentinel: SentinelState }

export interface Engine {
  readonly name: EngineName
  /** Facts probed by using the mechanism, under a time limit; cached. */
  detect(): EngineFacts
  /**
   * Starts an enclosure: parked, ready, without any data of a job. Releases all resources before it rejects with
   * MayflyError; DRAINING after `close`.
   */
  start(spec: EnclosureSpec): Promise<Enclosure>
  /**
   * Resumes a machine from a save, with no network and for no job. Absent where the mechanism has none. Rejects with MayflyError
   * UNAVAILABLE for a save of another release or other devices, or without its image.
   */
  resume?(save: MachineSave): Promise<Resumption>
  /**
   * Kills and removes the remains of dead wardens' enclosures. Blocks for `SWEEP_MS_MAX` at most: it runs before the first
   * start. An enclosure of another boot has left files only.
   */
  sweep(dead: readonly DeadEnclosure[]): void
  /** Removes remains without a lease, such as cgroups of a deleted state folder. Called once, some time after the start. */
  sweepOrphans(): void
  /** Kills starts in flight and waits for them. The caller disposes the enclosures that it got. */
  close(): Promise<void>
}

/** A machine that is resumed once its save has arrived. */
export interface Resumption {
  /** Sender's end of the socket for the save. */
  readonly socket: Socket
  /** The machine, stopped. Rejects with MayflyError; nothing is left then. */
  readonly resumed: Promise<Enclosure>
}

export interface EngineFacts {
  /** Root with enough uids to give one to each wall; an ordinary user otherwise. */
  readonly root: boolean
  /** Isolation features of this kernel, of the engine that builds walls from them. */
  readonly machine?: WardenFacts['machine']
  /** Milliseconds between two calls of `sample`: fewer without a kernel limit of memory. */
  readonly sampleEveryMs: number
}

/** Key of a parked enclosure: two equal specs are interchangeable. */
export type EnclosureSpec = Pick<
  Extract<Request, { op: 'start' }>,
  | 'program'
  | 'spares'
  | 'spareMiB'
  | 'isUrgent'
  | 'mechanism'
  | 'disk'
  | 'calls'
  | 'layers'
  | 'image'
  | 'usual'
  | 'fresh'
>

export interface DeadEnclosure {
  readonly id: string
  /** Whether its lease was written since this machine booted. */
  readonly isThisBoot: boolean
  readonly remains: Remains
}

/**
 * CPU weight class of a wall: high (`ahead`) while a job that is expected to be short has used little, usual while it has
 * another, low (`behind`) once the job is long-running, usual again when it is parked. Bounds do not change.
 */
export type WallRank = 'ahead' | 'job' | 'behind' | 'parked'

/** Disposing releases its resources; it resolves when all are released, or leaves the rest to background retries. */
export interface Enclosure extends AsyncDisposable {
  readonly id: string
  /** Description for the server; the warden's core forwards it without reading it. */
  readonly wall: Wall
  /** True if it serves one job and ends; otherwise it serves the jobs of one tenant, one after another. */
  readonly isSingleUse: boolean
  /** Resolves when the enclosure lost a part that it relies on, such as its sentinel: the warden has to end it. */
  readonly lost: Promise<void>
  /** Resolves after its last instruction, for every cause of its end; never rejects. Dispose next. */
  readonly ended: Promise<EnclosureEnd>

  /** Sockets of the server's end, which the caller then owns. Callable once. */
  handOver(): EnclosureSockets
  /** Binds the enclosure to a job's bounds and reads them back, all before the job is sent. */
  claim(bounds: ClaimBounds): Promise<ClaimReadBack>
  /**
   * Restarts CPU accounting for the next job, under the same bounds. The job has been running for `ranMs` milliseconds, so
   * that at most this much of the CPU time used so far is charged to it.
   */
  rearm(ranMs: number): void
  /** Tightens bounds while running; resolves when each holds. The caller passes the meet with the earlier bounds. */
  tighten(bounds: EnclosureBounds): Promise<BoundMechanisms>
  /** Sets its CPU weight class. Undefined if the mechanism cannot. */
  rank?(rank: WallRank): void
  /** Resolves with the milliseconds it took once every task in it is stopped. */
  freeze(): Promise<number>
  thaw(): Promise<void>
  /** Samples memory, and enforces in user space the limits that the kernel does not. Throws if it cannot read them. */
  sample(nowMs: number): MemorySample
  /** Whether the kernel's OOM counter shows a killed process of the job; cheap. */
  isOutOfMemory(): boolean
  /**
   * Limit that the job of a whole program has used up, by the kernel's counts; absent if the engine has none of them. `countAnew`:
   * refusals until now belong to an exec of its session, and a later call leaves them out. Never rejects.
   */
  limitHit?(countAnew?: boolean): LimitHit | undefined | Promise<LimitHit | undefined>
  /** Whether more than half of its bound on tasks was in use at once; absent if each refusal is counted. */
  isNearTasks?(): boolean
  /** The same at the end of an exec that ended well, without an answer. */
  countAnew?(): void | Promise<void>
  /** Present if the kernel of those counts is the guest's own. */
  readonly limitTrust?: 'guest'
  /** Milliseconds of CPU time; cheap. */
  cpuTime(): { readonly sinceStartMs: number; readonly sinceClaimMs: number }
  usage(): Promise<WallUsage>
  /** Facts for the operator. */
  facts(): WardenFacts['walls'][number]
  /** Listener inside the wall on which the caller accepts for the proxy. Undefined if the wall has no network namespace. */
  openEgress(): Promise<Server | undefined> | Server | undefined
  /** Closes the engine's copy of that listener, so that connections inside are refused. Idempotent. */
  closeEgress(): void
  /** Kills all of its processes. Resolves when its resources are released, or after `killMsMax`. Idempotent. */
  kill(): Promise<KillReceipt>

  /** Abilities; absent if the mechanism lacks one. `zones` is set by a claim with zone rules. */
  readonly calls?: CallControl
  readonly memory?: MemoryCapture | undefined
  readonly zones?: ZoneControl | undefined
  readonly connections?: ConnectionOwners
  readonly forks?: ForkControl | undefined
}

/** Milliseconds after which a receipt reports remains: a task in uninterruptible sleep outlives SIGKILL. */
export const killMsMax = 5_000

export interface EnclosureSockets {
  readonly handle: Socket | Server
  /** Outputs of a whole program. */
  readonly streams?: Readonly<Record<StreamName, Socket>>
}

export interface EnclosureBounds {
  /** Bytes above its idle size. */
  readonly memory: number
  /** Cores. */
  readonly cpu?: number
  /** Bytes a second, read and written, of each disk. */
  readonly io?: number
  /** Processes and threads in addition to its own. */
  readonly processes?: number
}

export interface ClaimBounds extends EnclosureBounds {
  /** Programs of which each execution starts a zone. */
  readonly zones?: readonly ZoneRule[]
  /** A network was granted: `openEgress` is called next. */
  readonly egress?: boolean
}

/** `spent`: it retains too much memory of earlier jobs, or has just ended; it was not claimed. */
export interface ClaimReadBack {
  readonly spent: boolean
  readonly enforced: BoundMechanisms
  /** Bytes resident now, and before any job. */
  readonly bytes: number
  readonly idleBytes: number
}

export interface MemorySample {
  readonly bytes: number
  /** Bytes above which the caller ends the enclosure; Infinity if unbounded. */
  readonly bytesMax: number
  /** True after an OOM kill in it: the caller ends the rest. */
  readonly isOutOfMemory: boolean
  /** True above the bound on tasks, if the kernel does not enforce it: the caller ends the enclosure. */
  readonly hasTooManyTasks?: boolean
  /** True above the bound on scratch space, if no file system enforces it: the caller ends the enclosure. */
  readonly hasTooMuchDisk?: boolean
}

export interface EnclosureEnd {
  readonly isOutOfMemory: boolean
  /** Limit that it had used up at its end. */
  readonly limit?: LimitHit | undefined
  /** Cause as text, for the log. */
  readonly detail: string
  readonly exit: WallExit
}

export interface KillReceipt {
  readonly tookMs: number
  /** Whether all of its processes and resources are gone. */
  readonly isGone: boolean
}

/** Closes classes of system calls while the program runs; nothing opens one. */
export interface CallControl {
  close(phases: readonly CallPhase[]): Promise<ClosedCallsState>
}

export interface MemoryCapture {
  /** Opens the socket of the copies; once a life. */
  open(): Promise<Socket>
  /** Copies memory, `bytesMax` of it at most, into that socket. */
  capture(bytesMax: number): Promise<CaptureProgress>
}

/** Makes further enclosures of a claimed one, which go on where it was paused. */
export interface ForkControl {
  /** Saves it, and lets it go on. Rejects with MayflyError UNAVAILABLE; it goes on then too, or has ended. */
  fork(): Promise<EnclosureFork>
}

/** Save of an enclosure that was forked. */
export interface EnclosureFork {
  /** Milliseconds for which it was paused. */
  readonly pausedMs: number
  /** Starts an enclosure of it: unclaimed, and standing still until its claim made it unique. Rejects as `Engine.start` does. */
  start(): Promise<Enclosure>
  /** Removes the save; enclosures of it go on. Idempotent. */
  release(): Promise<void>
}

/** Zones of programs, each within the bounds of its parent. */
export interface ZoneControl {
  /** Throws NOT_FOUND where there is no such zone. */
  tighten(zone: string, bounds: ZoneBounds): BoundMechanisms | Promise<BoundMechanisms>
  /** Resolves when no process of it runs. Idempotent. */
  end(zone: string): Promise<void>
}

/** Finds the processes that hold a connection to the egress path, as pids of this machine, for the audit. */
export interface ConnectionOwners {
  find(ends: ConnectionEnds): Promise<readonly number[]>
}
