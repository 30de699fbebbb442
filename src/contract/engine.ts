import type { Server, Socket } from 'node:net'
import type {
  CallPhase,
  SystemCallReport,
  ClosedCallsState,
  CaptureProgress,
  ConnectionEnds,
  BoundMechanisms,
  Request,
  SentinelState,
  StreamName,
  Wall,
  WallExit,
  WallUsage,
  WardenFacts,
  ZoneReport,
} from './warden.ts'
import type { ZoneBounds, ZoneRule } from './zone-rules.ts'

/**
 * The seam between the warden and the mechanisms that make walls. An engine is one mechanism (host processes in
 * namespaces, a user-space kernel, QEMU …); an enclosure is one live wall that it made, addressed by an id. The warden keeps ids,
 * states, tenants, deadlines and leases; pids, cgroups, monitor sockets and state files stay inside the engine.
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
  /** Jail to use where both are available. */
  readonly prefer?: 'embedded' | 'bubblewrap'
  /** For tests: programs and layers of this machine to treat as missing. */
  readonly hide?: readonly string[]
  /** For tests: layers left out, by their names in `Wall.layers`, to show that the others hold. */
  readonly without?: readonly string[]
  /** Whether whole programs get a sentinel where the engine can make one; the environment decides unless given. */
  readonly sentinel?: boolean
  /** For tests: the folder that caches the sentinel's program. */
  readonly sentinelFolder?: string
  /** Milliseconds an enclosure has to become ready; 15,000 unless given. */
  readonly readyMsMax?: number
}

/** The warden as an engine sees it. */
export interface EngineHost {
  /**
   * Writes, or overwrites, the lease of an enclosure: data by which `Engine.sweep` of a later warden finds what is left.
   * Called before the first foreign instruction runs, and again whenever the data changes. Throws where it cannot be
   * written: the start fails then.
   */
  lease(enclosure: string, remains: Remains): void
  /** Removes the lease; called once nothing is left. */
  releaseLease(enclosure: string): void
  /** Passes an observation on to the server. */
  report(report: EngineReport): void
}

/** JSON of the engine's own; the lease stores it beside the owner. Its keys are none of the lease's. */
export type Remains = Readonly<Record<string, unknown>>

export type EngineReport =
  | { readonly of: string; readonly seen: SystemCallReport }
  | { readonly of: string; readonly zone: ZoneReport }
  | { readonly sentinel: SentinelState }

export interface Engine {
  readonly name: EngineName
  /** Facts found by trying the mechanism, under a time limit; cached. */
  detect(): EngineFacts
  /**
   * Starts an enclosure: parked, ready, nothing of a job in it. Rejects with MayflyError, and then nothing is left.
   * DRAINING once `close` was called.
   */
  start(spec: EnclosureSpec): Promise<Enclosure>
  /**
   * Ends what dead wardens left. Blocks, for `SWEEP_MS_MAX` at most: it runs before anything is started. A wall of
   * another boot has no process left, only files.
   */
  sweep(dead: readonly DeadEnclosure[]): void
  /** Ends what no lease names, such as cgroups of a removed state folder. Called once, some time after the start. */
  sweepOrphans(): void
  /** Kills starts in flight and waits for them. Enclosures that were handed out are the caller's to dispose. */
  close(): Promise<void>
}

export interface EngineFacts {
  /** Real root with uids to give away; an ordinary user otherwise. */
  readonly root: boolean
  /** Isolation features of this kernel, of the engine that builds walls from them. */
  readonly machine?: WardenFacts['machine']
  /** Milliseconds between two calls of `sample`: fewer where no kernel limit holds the memory of an enclosure. */
  readonly sampleEveryMs: number
}

/** Key of a parked enclosure: two equal specs are interchangeable. */
export type EnclosureSpec = Pick<
  Extract<Request, { op: 'start' }>,
  'program' | 'spares' | 'spareMiB' | 'mechanism' | 'disk' | 'calls' | 'layers'
>

export interface DeadEnclosure {
  readonly id: string
  /** Whether its lease was written since this machine booted. */
  readonly isThisBoot: boolean
  readonly remains: Remains
}

/**
 * Part of the processor that a wall has while others want it: the usual one as long as it has a job, little of it once it has
 * computed for long, and the usual one again without a job. Bounds stay as they are.
 */
export type WallRank = 'job' | 'behind' | 'parked'

/** Disposing gives back all that it took and resolves when nothing is left, or the engine keeps trying by itself. */
export interface Enclosure extends AsyncDisposable {
  readonly id: string
  /** Description for the server, passed on unread. */
  readonly wall: Wall
  /** Serves one job and ends; otherwise the jobs of one tenant, one after another. */
  readonly isSingleUse: boolean
  /** Resolves when something that the enclosure relies on is lost, so that the warden has to end it. */
  readonly lost: Promise<void>
  /** Resolves after its last instruction, however it ended; never rejects. Dispose next. */
  readonly ended: Promise<EnclosureEnd>

  /** Sockets of the server's end; the caller owns them from here on. Callable once. */
  handOver(): EnclosureSockets
  /** Binds the enclosure to a job's bounds and reads them back, all before the job is sent. */
  claim(bounds: ClaimBounds): Promise<ClaimReadBack>
  /** Starts the accounts of the next job under the same bounds. */
  rearm(): void
  /** Lowers bounds while running; resolves when each holds. The caller passes the meet with the bounds before. */
  tighten(bounds: EnclosureBounds): Promise<BoundMechanisms>
  /** Gives it more or less of the processor while others want it. Undefined where the mechanism cannot. */
  rank?(rank: WallRank): void
  /** Resolves with milliseconds when every task in it stands still. */
  freeze(): Promise<number>
  thaw(): Promise<void>
  /** Looks at memory, and throttles or stops what a kernel limit does not. Throws where it cannot look. */
  sample(nowMs: number): MemorySample
  /** Milliseconds of CPU time; cheap. */
  cpuTime(): { readonly sinceStartMs: number; readonly sinceClaimMs: number }
  usage(): Promise<WallUsage>
  /** Facts for the operator. */
  facts(): WardenFacts['walls'][number]
  /** The egress path, listening inside the wall: the caller accepts on it. Undefined where the wall has no network of its own. */
  openEgress(): Promise<Server | undefined> | Server | undefined
  /** Closes the engine's copy of that socket, so that connections inside are refused. Idempotent. */
  closeEgress(): void
  /** Ends all of it at once. The receipt resolves when all was given back, or after `killMsMax`. Idempotent. */
  kill(): Promise<KillReceipt>

  /** Abilities; undefined where the mechanism has none. `zones` is there once a claim brought rules. */
  readonly calls: CallControl | undefined
  readonly memory: MemoryCapture | undefined
  readonly zones: ZoneControl | undefined
  readonly connections: ConnectionOwners | undefined
}

/** Milliseconds after which a receipt says that something is left: a task in uninterruptible sleep outlives SIGKILL. */
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
  /** Processes and threads beside its own. */
  readonly processes?: number
}

export interface ClaimBounds extends EnclosureBounds {
  /** Programs that are a zone of their own each time one is executed. */
  readonly zones?: readonly ZoneRule[]
  /** A network was granted: `openEgress` is called next. */
  readonly egress?: boolean
}

/** `spent`: earlier jobs left too much behind, or it ended a moment ago; it holds no job. */
export interface ClaimReadBack {
  readonly spent: boolean
  readonly enforced: BoundMechanisms
  /** Bytes resident now, and before any job. */
  readonly bytes: number
  readonly idleBytes: number
}

export interface MemorySample {
  readonly bytes: number
  /** Bytes at which the enclosure is to be ended; Infinity where nothing is bound. */
  readonly bytesMax: number
  /** The kernel ended a part of it for memory: the rest is to go too. */
  readonly isOutOfMemory: boolean
  /** More tasks than the bound, where nothing refuses them: all of it is to go. */
  readonly hasTooManyTasks?: boolean
}

export interface EnclosureEnd {
  readonly isOutOfMemory: boolean
  /** Cause in words, for the log. */
  readonly detail: string
  readonly exit: WallExit
}

export interface KillReceipt {
  readonly tookMs: number
  /** Whether nothing of it is left. */
  readonly isGone: boolean
}

/** Closes classes of system calls while the program runs; nothing opens one. */
export interface CallControl {
  close(phases: readonly CallPhase[]): Promise<ClosedCallsState>
}

export interface MemoryCapture {
  /** The socket that copies come over; once a life. */
  open(): Promise<Socket>
  /** Copies memory, `bytesMax` of it at most, into that socket. */
  capture(bytesMax: number): Promise<CaptureProgress>
}

/** Zones of programs, each within the bounds of its parent. */
export interface ZoneControl {
  /** Throws NOT_FOUND where there is no such zone. */
  tighten(zone: string, bounds: ZoneBounds): BoundMechanisms
  /** Resolves when nothing of it runs. Idempotent. */
  end(zone: string): Promise<void>
}

/** Finds the processes that hold a connection to the egress path, as pids of this machine, for the audit. */
export interface ConnectionOwners {
  find(ends: ConnectionEnds): Promise<readonly number[]>
}
