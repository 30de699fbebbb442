/**
 * The complete set of requests from server to warden: names and bounded numbers. Never a path, an
 * argument vector or an environment; the warden composes those from its own launchers and validates
 * requests in `request.ts`.
 */
import type { CallClass } from './calls.ts'
import type { PackageLayer } from './layer.ts'
import type { ImagePolicy } from './vulnerability.ts'
import type { ZoneRule } from './zone-rules.ts'

export const wardenProtocol = 1
/** Maximum size of one request, as JSON. */
export const requestBytesMax = 2 ** 20

/** Milliseconds between two samples of a wall's memory, where a kernel limit holds it too, and where none does. */
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

interface Envelope {
  readonly protocol: typeof wardenProtocol
  readonly id: number
}

/** A connection as its opener sees it; any loopback address may be its own. */
export interface ConnectionEnds {
  readonly from: string
  readonly local: number
  readonly remote: number
}

/** As in `claim`; bytes of memory above the wall's idle size. */
export interface UsualBounds {
  readonly memory: number
  readonly cpu?: number
  readonly processes?: number
}

export type Request = Envelope &
  (
    | {
        readonly op: 'start'
        readonly program: ProgramName
        /**
         * Warm-up level: isolates in a worker, dummy sources in an analysis process, a dummy job in
         * a program.
         */
        readonly spares: number
        readonly spareMiB: number
        /** A short job waits for it, or soon will: it starts before what other walls compute. */
        readonly isUrgent?: boolean
        /** Started by an exec of its own, and not forked from a template. */
        readonly fresh?: boolean
        readonly mechanism?: MechanismName
        /** Scratch space of a whole program, in bytes. */
        readonly disk?: number
        /** Call classes that a whole program's schedule may close; all by default. */
        readonly calls?: readonly CallClass[]
        /**
         * Package layers that a whole program mounts, by name below the warden's own layer folder.
         */
        readonly layers?: readonly Pick<PackageLayer, 'kind' | 'layer'>[]
        /** Digest of the image whose files are the root of a whole program. */
        readonly image?: string
        /** Bounds that most jobs of a parked program will ask for: they are set while it waits. */
        readonly usual?: UsualBounds
      }
    /** Digest of an image by its name, if the policy lets it be used. */
    | {
        readonly op: 'image'
        readonly name: string
        readonly policy: ImagePolicy
        /** No job named it: its wall has it by default. */
        readonly isDefault?: true
      }
    | {
        readonly op: 'claim'
        readonly wall: string
        /** Digest of the tenant's name, enough for the warden to refuse a second tenant. */
        readonly tenant: string
        /** Bytes above the wall's idle size. */
        readonly memory: number
        /** Milliseconds from now until the wall is killed. */
        readonly deadline: number
        /** Cores. */
        readonly cpu?: number
        /** Read and write rate of each device, in bytes a second. */
        readonly io?: number
        /** Processes and threads in addition to the wall's own. */
        readonly processes?: number
        /** Forecast by its last run: the job is expected to take little CPU time. */
        readonly isShort?: boolean
        /** Requests the listening socket inside the wall for its egress. */
        readonly egress?: boolean
        /** Executables of a whole program of which each execution starts a zone. */
        readonly zones?: readonly ZoneRule[]
      }
    /**
     * Next job of its tenant, under the memory bound of the last claim: deadline, peak and CPU time begin anew. Answered
     * only on failure; a wall whose deadline has passed ends.
     */
    | {
        readonly op: 'arm'
        readonly wall: string
        readonly deadline: number
        /** Milliseconds for which that job has run by now: so much of the CPU time before is its own, at most. */
        readonly ran?: number
      }
    | { readonly op: 'release'; readonly wall: string }
    /** Release without its usage; answered only on failure. */
    | { readonly op: 'rest'; readonly wall: string }
    | { readonly op: 'usage'; readonly wall: string }
    | {
        readonly op: 'callers'
        readonly wall: string
        /** IPv4, as seen from inside the wall. */
        readonly from: string
        readonly local: number
        readonly remote: number
      }
    /** The whole wall, or one zone of its programs. */
    | { readonly op: 'kill'; readonly wall: string; readonly zone?: string }
    /** Lowers bounds of a claimed wall; omitted ones stay. Answered after each was read back. */
    | {
        readonly op: 'tighten'
        readonly wall: string
        /** A program zone of the wall; `io` then does not apply. */
        readonly zone?: string
        readonly memory?: number
        readonly cpu?: number
        readonly io?: number
        readonly processes?: number
      }
    /**
     * Closes classes of system calls, now or later; no request reopens one. Answered when the
     * immediate ones hold.
     */
    | { readonly op: 'calls'; readonly wall: string; readonly phases: readonly CallPhase[] }
    /** Answered when every process in it is stopped; its deadline keeps running. */
    | { readonly op: 'freeze'; readonly wall: string }
    | { readonly op: 'thaw'; readonly wall: string }
    /** Requests the socket for memory copies; once per life. */
    | { readonly op: 'memory'; readonly wall: string }
    /** Copies at most `bytes` of memory. */
    | { readonly op: 'capture'; readonly wall: string; readonly bytes: number }
    /** Starts the program of an MCP server, which the operator's configuration names so. */
    | { readonly op: 'program'; readonly name: string }
    /** Current usage of every wall that has a job. */
    | { readonly op: 'loads' }
    | { readonly op: 'facts' }
    | {
        readonly op: 'sign'
        readonly digests: readonly string[]
        readonly seq: number
        readonly head: string
      }
  )

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
  /** Source of the claim where it is the guest's own kernel. */
  readonly trust?: 'guest'
  /** Processes that were killed, since they could have gone on with calls of a closed class. */
  readonly killed?: number
}

/** Number of processes being captured, and of those left out. */
export interface CaptureProgress {
  readonly processes: number
  readonly leftOut: number
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
   * `asked`: in its zone from its first instruction (seccomp notify); `seen`: since a later scan.
   */
  readonly entered: 'asked' | 'seen'
  readonly enforced?: Readonly<Record<'memory' | 'cpu' | 'processes', 'cgroup' | 'watch' | 'none'>>
  readonly why?: string
  readonly peakBytes?: number
}

/**
 * A system call reported by the sentinel. A path is relative to the wall's root, and informative
 * only: no decision used it.
 */
export type SeenReport = SystemCallReport | ProcessReport

/** End of a process, or of several for their memory, by the kernel of a guest. Times are those of the guest. */
export interface ProcessReport {
  readonly t: number
  readonly pid: number
  readonly leftOut: number
  readonly exitCode?: number
  readonly signal?: string
  /** Times that the kernel ended the job, or one of its zones, for memory. */
  readonly outOfMemory?: number
  readonly trust: 'guest'
}

/** Refusals that are of no class that a phase closes. */
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
  /** Same moment on the clock by which a program reports its release. */
  readonly monotonic: number
  readonly pid: number
  readonly call: string
  readonly class: CallClass | OtherRefusal
  readonly denied: boolean
  readonly writes: boolean
  readonly path?: string
  /** For an exec: ctime of the file, which no program can set back, on the same clock as `monotonic`. */
  readonly wrote?: number
  /** Calls dropped so far by the rate limit. */
  readonly leftOut: number
  /** Source of the claim where it is the guest's own kernel. */
  readonly trust?: 'guest'
}

/** A request without the fields that the client adds. */
export type WardenRequest = Request extends infer R
  ? R extends Request
    ? Omit<R, 'protocol' | 'id'>
    : never
  : never

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
  /** Digest of the image that is its root; absent where this system's files are. */
  readonly image?: string
  /** Memory can be copied without a sentinel, as an image of all of it. */
  readonly isImaged?: true
  /** Socket, outputs and connections of its program come on one socket, as frames: guest/carrier/wire.h. */
  readonly isCarried?: true
  /** Programs count their CPU time by clock ticks, also while a quota throttles them: the warden's count is the right one. */
  readonly countsTicks?: true
  /** Resident bytes when warm, before any job. */
  readonly idleBytes: number
  /** Milliseconds from the request to readiness. */
  readonly took: number
}

/** Mechanism behind each bound of a claimed wall; `none`: no bound exists or none was requested. */
export interface BoundMechanisms {
  readonly memory: 'cgroup' | 'watch'
  readonly processes: 'cgroup' | 'keeper' | 'rlimit' | 'watch' | 'none'
  readonly cpu: 'cgroup' | 'watch' | 'none'
  /** `throttle`: by the hypervisor, of the machine's disk. */
  readonly io: 'cgroup' | 'throttle' | 'none'
}

/** A spent wall retains too much memory of earlier jobs and was not claimed. */
export interface ClaimResult {
  readonly spent: boolean
  readonly enforced: BoundMechanisms
}

/** Current usage of a wall. */
export interface WallUsage {
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
  /** True if its job hit its memory limit by now: it is about to be ended. */
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
    /** True if it has computed for long without a pause. */
    readonly isLong?: boolean
  }[]
}

/** Cost of a wall's job, measured from outside. */
export interface WallCost {
  readonly peakBytes: number
  /** CPU time in milliseconds since its release. */
  readonly cpuMs: number
  /** True if the job hit its memory limit, even if only the kernel has noticed so far. */
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
  }
}

/** `pressure`: killed on memory shortage of the machine, as a large consumer. */
/** Detail of the end of a program that closed its socket to the server and went on: a doing of its own. */
export const closedSocketDetail = 'it closed its socket to the server'

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
    }
  | { readonly of: number; readonly part: StreamName }
  | { readonly of: string; readonly seen: SeenReport }
  | { readonly of: string; readonly zone: ZoneReport }
  | { readonly sentinel: SentinelState }
  /** Walls of dead wardens that it ended at its start. */
  | { readonly swept: number }
