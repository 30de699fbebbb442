/** Messages between server and warden, but for the requests: those are in `warden-request.ts`. */
import type { KvmAccess } from '../lib/kvm-access.ts'
import type { CallClass } from './calls.ts'

export const wardenProtocol = 1
/** Maximum size of one request, as JSON. */
export const requestBytesMax = 2 ** 20

/** Milliseconds between two memory samples of a wall: with a kernel limit, and without one. */
export const sampleEveryMs = { limited: 10, watched: 2 } as const
/** Phases of system calls that one request may plan. */
export const phasesMax = 64

export const programNames = ['isolated-vm', 'wasi', 'analyst', 'node', 'python'] as const
export type ProgramName = (typeof programNames)[number]

/**
 * Mechanism that makes a wall: a jail kind, or another name in the table of engines (`src/warden/engines/index.ts`);
 * `any` leaves the choice to the warden.
 */
export type MechanismName = string
/** Name of an MCP server in the configuration. */
export const operatorProgramPattern = /^[a-z][a-z0-9_]{0,31}$/
export const mechanismPattern = /^[a-z][a-z0-9-]{0,31}$/

/** A connection as seen by the side that opened it; its own address may be any of 127.0.0.0/8. */
export interface ConnectionEnds {
  readonly from: string
  readonly local: number
  readonly remote: number
}

/** Bounds as in `claim`; memory in bytes above the wall's idle size. */
export interface UsualBounds {
  readonly memory: number
  readonly cpu?: number
  readonly processes?: number
}

/** Call classes that stay open from a time on, out of those still open. */
export interface CallPhase {
  /** Milliseconds from receipt of the request. */
  readonly afterMs: number
  readonly allow: readonly CallClass[]
  /** Kills the wall. */
  readonly kills?: boolean
}

/** State after closing a wall's calls, as reported by the sentinel. */
export interface ClosedCallsState {
  readonly allowed: readonly CallClass[]
  /** Number of pending phases. */
  readonly planned: number
  /** Errno name that calls of each closed class get. */
  readonly answers: Readonly<Record<string, string>>
  /** Present if the guest's own kernel is the source of the claim. */
  readonly trust?: 'guest'
  /** Number of processes that were killed because they could have continued a call of a closed class. */
  readonly killed?: number
}

/** Number of processes that are captured, and of those that are left out. */
export interface CaptureProgress {
  readonly processes: number
  readonly leftOut: number
  /** Present for a machine that was cloned: its copy has the pages that differ from this file. */
  readonly base?: MemoryBase
}

/** Memory of a template, which holds no data of a tenant. The warden may remove the file once the wall is gone. */
export interface MemoryBase {
  readonly path: string
  readonly sha256: string
}

/** Lifecycle event of a program zone. */
export interface ZoneReport {
  readonly what: 'began' | 'gone' | 'refused'
  readonly zone: string
  readonly kind: string
  /** Zone in which it was started. */
  readonly parent: string
  /** Executed file; for `began`. */
  readonly program: string
  /**
   * `asked`: placed in its zone before its first instruction (seccomp notify, or fanotify of a guest); `seen`: placed by a
   * later scan of /proc.
   */
  readonly entered: 'asked' | 'seen'
  readonly enforced?: Readonly<Record<'memory' | 'cpu' | 'processes', 'cgroup' | 'watch' | 'none'>>
  readonly why?: string
  readonly peakBytes?: number
  /** Present if the guest's own kernel is the source of the claim, and of the limits. */
  readonly trust?: 'guest'
}

/**
 * A system call reported by the sentinel. A path is relative to the wall's root, and informative
 * only: no decision used it.
 */
export type SeenReport = SystemCallReport | ProcessReport

/** Exit of a process, or OOM kills, as reported by the kernel of a guest; times are of the guest's clock. */
export interface ProcessReport {
  readonly t: number
  readonly pid: number
  readonly leftOut: number
  readonly exitCode?: number
  readonly signal?: string
  /** Number of OOM kills of the job or of one of its zones. */
  readonly outOfMemory?: number
  readonly trust: 'guest'
}

/** Classes of refused calls that are always refused, independent of phases. */
export type OtherRefusal =
  | 'debug'
  | 'mount'
  | 'namespace'
  | 'module'
  | 'raw-socket'
  | 'signal'
  | 'capability'
  | 'other'

export interface SystemCallReport {
  /** Milliseconds since boot. */
  readonly t: number
  /** The same time on CLOCK_MONOTONIC, by which a program reports its release. */
  readonly monotonic: number
  readonly pid: number
  readonly call: string
  readonly class: CallClass | OtherRefusal
  readonly denied: boolean
  readonly writes: boolean
  readonly path?: string
  /** For an exec: ctime of the file, which a program cannot set back, on the clock of `monotonic`. */
  readonly wrote?: number
  /** Calls dropped so far by the rate limit. */
  readonly leftOut: number
  /** Present if the guest's own kernel is the source of the claim. */
  readonly trust?: 'guest'
}

/** A wall that was saved to be forked. */
export interface ForkedWall {
  readonly fork: string
  /** Milliseconds for which it was paused. */
  readonly pausedMs: number
}

/** Walls that are made of one by one fork, and forks whose walls are awaited. */
export const forkChildrenMax = 8
export const forksMax = 4

/** A wall as created by the warden. */
export interface Wall {
  readonly id: string
  readonly program: ProgramName
  readonly pid: number
  readonly mechanism: MechanismName
  readonly layers: readonly string[]
  readonly missing: readonly string[]
  /** Call classes that can be closed while it runs; empty without a sentinel. */
  readonly calls: readonly CallClass[]
  /** Digest of the image that is its root; absent if its root has files of this system. */
  readonly image?: string
  /** Memory can be captured without a sentinel, as one image of the whole guest. */
  readonly isImaged?: true
  /** Further walls can be made of it while its job runs. */
  readonly isForkable?: true
  /** Control socket, output streams and connections are multiplexed as frames on one socket: guest/carrier/wire.h. */
  readonly isCarried?: true
  /** The socket leads to a serial line of the guest: src/walls/paced-socket.ts. */
  readonly isPaced?: true
  /** The guest counts CPU time by clock ticks, also while a CFS quota throttles it: use the warden's figure instead. */
  readonly countsTicks?: true
  /** Resident bytes when warm, before any job. */
  readonly idleBytes: number
  /** Milliseconds from the request to readiness. */
  readonly took: number
}

/** Mechanism behind each bound of a claimed wall; `none`: no bound exists or none was requested. */
export interface BoundMechanisms {
  readonly memory: 'cgroup' | 'watch'
  readonly processes: 'cgroup' | 'keeper' | 'rlimit' | 'seatbelt' | 'watch' | 'none'
  readonly cpu: 'cgroup' | 'watch' | 'none'
  /** `throttle`: by the hypervisor, of the machine's disk. */
  readonly io: 'cgroup' | 'throttle' | 'none'
}

/** A spent wall retains too much memory of earlier jobs and was not claimed. */
export interface ClaimResult {
  readonly spent: boolean
  readonly enforced: BoundMechanisms
}

export type LimitHit = 'processes' | 'disk'

export interface LimitUse {
  /** Limit that a kernel shows as used up. The job may have handled that: a cause of its end only if it ended with an error. */
  readonly limit?: LimitHit
  /** Present if the guest's own kernel is the source of the claim. */
  readonly limitTrust?: 'guest'
  /** True without that limit if most tasks of the bound were in use at once: RLIMIT_NPROC refuses forks that no count shows. */
  readonly nearTasks?: true
}

/** Current usage of a wall; with a limit only if the request says that an exec has failed. */
export interface WallUsage extends LimitUse {
  /** In addition to its own processes. */
  readonly processes: number
  /** Resident bytes above its idle size; shared file pages count once. */
  readonly bytes: number
  /** CPU time of the whole wall since its start. */
  readonly cpuMs: number
  /** Run-queue wait of live processes; 0 if the kernel does not count it. */
  readonly waitedMs: number
  /** Time of the sample, on the warden's own clock. */
  readonly atMs: number
  /** True if its job has hit its memory limit: the wall is about to be ended. */
  readonly isOutOfMemory?: boolean
}

/** Walls with a job: total resident bytes, and CPU time in milliseconds since their start. */
export interface WallLoads {
  /** Time of the sample, on the warden's own clock. */
  readonly atMs: number
  readonly walls: readonly {
    readonly wall: string
    readonly bytes: number
    readonly cpuMs: number
    /** True if it is long-running: it has computed for long without a pause. */
    readonly isLong?: boolean
  }[]
}

/** Cost of a wall's job, measured from outside. The limit that it used up is set only for a failed job, and for a wall that has ended. */
export interface WallCost extends LimitUse {
  readonly peakBytes: number
  /** CPU time in milliseconds since its release. */
  readonly cpuMs: number
  /** True if the job hit its memory limit, also if so far only the kernel's OOM counter shows it. */
  readonly isOutOfMemory?: boolean
}

/** Exit of a wall's outermost process, as reported by the kernel. */
export interface WallExit {
  readonly exitCode: number | null
  /** Also decoded from a shell's exit code above 128. */
  readonly signal: string | null
  /** CPU time in milliseconds of all its processes since the release; null if not measured. */
  readonly cpuMs: number | null
}

/** Output streams of a whole program; delivered before the answer to its start. */
export type StreamName = 'stdout' | 'stderr'

export interface WardenFacts {
  readonly pid: number
  readonly root: boolean
  readonly walls: readonly {
    readonly id: string
    readonly program: ProgramName
    readonly pid: number
    readonly proportionalBytes: number
  }[]
  readonly proportionalBytes: number
  readonly publicKey: string
  /** Isolation features of this machine. */
  readonly machine: {
    readonly namespaces: boolean
    /** ABI version; 0 if absent. */
    readonly landlock: number
    /** cgroup version used for walls; null if none. */
    readonly cgroups: 1 | 2 | null
    readonly bubblewrap: boolean
    /** Access of the warden, which starts machines. */
    readonly kvm: KvmAccess
  }
}

/** Detail of the end of a program that closed its socket to the server and continued: its own action, no fault of the wall. */
export const closedSocketDetail = 'it closed its socket to the server'

/** Cause of a wall's end. `pressure`: killed on memory shortage of the machine, as a large consumer. */
export type WallEnd = 'killed' | 'memory' | 'processes' | 'disk' | 'deadline' | 'pressure' | 'exit'

/** Sentinel state for whole programs started from now on. */
export interface SentinelState {
  readonly isOn: boolean
  /** Reason for its absence; empty if present. */
  readonly why: string
  /** Minimum milliseconds until the next attempt. */
  readonly retryMs?: number
}

/** Answers and unsolicited messages of the warden. */
export type Reply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | {
      readonly id: number
      readonly ok: false
      readonly code: string
      readonly message: string
      readonly hint?: string
    }
  | {
      readonly ended: string
      readonly how: WallEnd
      readonly peakBytes: number
      readonly detail: string
      readonly exit: WallExit
      readonly limit?: LimitHit
    }
  | { readonly of: number; readonly part: StreamName }
  | { readonly of: string; readonly seen: SeenReport }
  | { readonly of: string; readonly zone: ZoneReport }
  | { readonly sentinel: SentinelState }
  /** Number of walls of dead wardens that the sweep at its start ended. */
  | { readonly swept: number }
