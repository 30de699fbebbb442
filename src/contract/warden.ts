/**
 * What a server may ask of the warden, and all it may ask: names and numbers within bounds. Never a path, an
 * argument vector or an environment; the warden composes those from its own launchers. `request.ts` checks it.
 */
import type { CallClass } from './calls.ts'
import type { PackageLayer } from './layer.ts'
import type { ZoneRule } from './zone-rules.ts'

export const wardenProtocol = 1
/** What one request may weigh, as JSON. */
export const requestBytesMax = 2 ** 20

export const programNames = ['isolated-vm', 'wasi', 'analyst', 'node', 'python'] as const
export type ProgramName = (typeof programNames)[number]

/** How a wall is made; `any` leaves it to the warden. */
export const wallWays = ['any', 'embedded', 'bubblewrap'] as const
export type WallWay = (typeof wallWays)[number]

interface Envelope {
  readonly protocol: typeof wardenProtocol
  readonly id: number
}

/** Of a connection, as whoever opened it sees it: any address of the loopback may be its own. */
export interface Ends {
  readonly from: string
  readonly local: number
  readonly remote: number
}

export type Request = Envelope &
  (
    | {
        readonly op: 'start'
        readonly program: ProgramName
        /** What is made ahead: isolates in a worker, dummy sources in an analysis process, a dummy job in a program. */
        readonly spares: number
        readonly spareMiB: number
        readonly way?: WallWay
        /** Bytes a whole program may write: its scratch, all of it together. */
        readonly disk?: number
        /** Classes of calls that a whole program's life may close; all of them unless given. */
        readonly calls?: readonly CallClass[]
        /** Layers of packages that a whole program mounts, by their names below the warden's own folder of layers. */
        readonly layers?: readonly Pick<PackageLayer, 'kind' | 'layer'>[]
      }
    | {
        readonly op: 'claim'
        readonly wall: string
        /** A digest of the tenant's name: all the warden needs to refuse a second one. */
        readonly tenant: string
        /** Bytes above the wall's idle size. */
        readonly memory: number
        /** Milliseconds from now after which the wall is killed. */
        readonly deadline: number
        /** Cores. */
        readonly cpu?: number
        /** Bytes a second, read and written, of each device. */
        readonly io?: number
        /** Processes and threads that it may have beside what it is made of. */
        readonly processes?: number
        /** Asks for the socket that listens inside the wall for what leaves it. */
        readonly egress?: boolean
        /** Programs of a whole wall that are a zone each time one is executed. */
        readonly zones?: readonly ZoneRule[]
      }
    /** Answered only when it fails: the memory bound of the claim before it still holds. */
    | { readonly op: 'arm'; readonly wall: string; readonly deadline: number }
    | { readonly op: 'release'; readonly wall: string }
    | { readonly op: 'usage'; readonly wall: string }
    | {
        readonly op: 'callers'
        readonly wall: string
        /** IPv4, as the wall sees it. */
        readonly from: string
        readonly local: number
        readonly remote: number
      }
    /** The whole wall, or one zone of its programs. */
    | { readonly op: 'kill'; readonly wall: string; readonly zone?: string }
    /** Lower bounds for a wall that was claimed; what is left out stays. Answered when each was read back. */
    | {
        readonly op: 'tighten'
        readonly wall: string
        /** One of its zones of programs; then `io` is none of it. */
        readonly zone?: string
        readonly memory?: number
        readonly cpu?: number
        readonly io?: number
        readonly processes?: number
      }
    /** Closes classes of system calls, now or later; nothing opens one. Answered when what is due holds. */
    | { readonly op: 'calls'; readonly wall: string; readonly phases: readonly CallPhase[] }
    /** Answered when everything in it stands still; its deadline goes on. */
    | { readonly op: 'freeze'; readonly wall: string }
    | { readonly op: 'thaw'; readonly wall: string }
    /** Asks for the socket that copies of its memory come over; once a life. */
    | { readonly op: 'memory'; readonly wall: string }
    /** Copies memory, `bytes` of it at most. */
    | { readonly op: 'capture'; readonly wall: string; readonly bytes: number }
    /** What every wall that has a job uses now. */
    | { readonly op: 'loads' }
    | { readonly op: 'facts' }
    | {
        readonly op: 'sign'
        readonly digests: readonly string[]
        readonly seq: number
        readonly head: string
      }
  )

/** From a moment on: the classes of calls that stay open, of those that still are. */
export interface CallPhase {
  /** Milliseconds from when it is told. */
  readonly afterMs: number
  readonly allow: readonly CallClass[]
  /** Ends the wall. */
  readonly kills?: boolean
}

/** What holds once a wall's calls are closed, in the words of whoever answers them. */
export interface CallsHeld {
  readonly allowed: readonly CallClass[]
  /** Phases that are still to come. */
  readonly planned: number
  /** What calls of each class that is closed get, by the name of an errno. */
  readonly answers: Readonly<Record<string, string>>
}

/** How many processes are being looked into, and how many more there are. */
export interface Capturing {
  readonly processes: number
  readonly leftOut: number
}

/** What became of a zone of programs. */
export interface ZoneTold {
  readonly what: 'began' | 'gone' | 'refused'
  readonly zone: string
  readonly kind: string
  /** The zone it was started in. */
  readonly parent: string
  /** The file that was executed; where it began. */
  readonly program: string
  /** `asked`: it is in its zone from its first instruction on; `seen`: since it was looked at. */
  readonly entered: 'asked' | 'seen'
  readonly enforced?: Readonly<Record<'memory' | 'cpu' | 'processes', 'cgroup' | 'watch' | 'none'>>
  readonly why?: string
  readonly peakBytes?: number
}

/** A call of a wall, as its sentinel saw it. A path is as the wall's root has it: nothing was decided by it. */
export interface CallSeen {
  /** Milliseconds since this machine started. */
  readonly t: number
  /** The same moment on the clock by which a program says that it was released. */
  readonly monotonic: number
  readonly pid: number
  readonly call: string
  readonly class: CallClass
  readonly denied: boolean
  readonly writes: boolean
  readonly path?: string
  /** Of a program that is started: when its file was written, on the same clock as `monotonic`. */
  readonly wrote?: number
  /** How many were not told so far, for there were too many. */
  readonly leftOut: number
}

/** A request without what the client puts in itself. */
export type Asked = Request extends infer R
  ? R extends Request
    ? Omit<R, 'protocol' | 'id'>
    : never
  : never

/** A wall as the warden made it. */
export interface Wall {
  readonly id: string
  readonly program: ProgramName
  readonly pid: number
  readonly way: 'embedded' | 'bubblewrap'
  readonly layers: readonly string[]
  readonly missing: readonly string[]
  /** Classes of calls that can be closed while it runs; none without a sentinel. */
  readonly calls: readonly CallClass[]
  /** Resident bytes when it was warm and had seen no job. */
  readonly idleBytes: number
  /** Milliseconds from the request to readiness. */
  readonly took: number
}

/** What holds a claimed wall to each of its bounds; `none`: there is no such bound here, or none was asked for. */
export interface HeldBy {
  readonly memory: 'cgroup' | 'watch'
  readonly processes: 'cgroup' | 'rlimit' | 'watch' | 'none'
  readonly cpu: 'cgroup' | 'watch' | 'none'
  readonly io: 'cgroup' | 'none'
}

/** A wall that is spent kept too much of earlier jobs, and holds none. */
export interface Claimed {
  readonly spent: boolean
  readonly enforced: HeldBy
}

/** What a wall uses now. */
export interface WallUsage {
  /** Beside those that it is made of. */
  readonly processes: number
  /** Resident, above what it was idle; files that processes share count once. */
  readonly bytes: number
  /** Of all of it, since it was started. */
  readonly cpuMs: number
  /** Of what lives: how long it could have worked, and others had the processor; 0 where the kernel does not count. */
  readonly waitedMs: number
  /** When this was so, on a clock of the warden's own. */
  readonly atMs: number
}

/** Of walls that have a job: resident bytes in all, and milliseconds of processor time since they were started. */
export interface WallLoads {
  /** On a clock of the warden's own. */
  readonly atMs: number
  readonly walls: readonly {
    readonly wall: string
    readonly bytes: number
    readonly cpuMs: number
  }[]
}

/** What a wall's job came to, by who looked from outside. */
export interface WallUsed {
  readonly peakBytes: number
  /** Milliseconds of processor time since it was released. */
  readonly cpuMs: number
}

/** How the outermost process of a wall ended, in the words of the kernel. */
export interface WallExit {
  readonly exitCode: number | null
  /** Also where a shell tells of it by a code above 128. */
  readonly signal: string | null
  /** Milliseconds of processor time, of all of it since its job was released; null where nobody counted. */
  readonly cpuMs: number | null
}

/** Both outputs of a whole program: each comes before the answer to its start. */
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
  /** What this machine gives a jail. */
  readonly machine: {
    readonly namespaces: boolean
    /** Version; 0 when there is none. */
    readonly landlock: number
    /** Version of the control groups that walls are put into; null when there is none. */
    readonly cgroups: 1 | 2 | null
    readonly bubblewrap: boolean
  }
}

/** `pressure`: the machine ran short of memory, and this wall held much of it. */
export type WallEnd = 'killed' | 'memory' | 'deadline' | 'pressure' | 'exit'

/** Whether the walls of whole programs that are started from now on have a sentinel. */
export interface SentinelTold {
  readonly isOn: boolean
  /** Why there is none; empty where there is one. */
  readonly why: string
  /** Milliseconds until it is tried again, at the earliest. */
  readonly retryMs?: number
}

/** What the warden answers, and what it says of its own accord. */
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
  | { readonly of: string; readonly seen: CallSeen }
  | { readonly of: string; readonly zone: ZoneTold }
  | { readonly sentinel: SentinelTold }
