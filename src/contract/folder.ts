/** Access of a command to a folder of this machine and to the paths around it. Paths are canonical. */
export interface FolderGrant {
  /** Working folder of the command. */
  readonly folder: string
  /** Home folder: hidden, except for `binds` below it. */
  readonly home: string | undefined
  readonly binds: readonly FolderBind[]
  /** Paths without write access, or without any; they need not exist. */
  readonly closed: readonly ClosedPath[]
  /** Files that may be read although their name is that of a secret. */
  readonly lifted: readonly string[]
  /** File names that are secrets here, in addition to those of the policy. */
  readonly secretNames: readonly string[]
  readonly variables: Readonly<Record<string, string>>
  /** Names of variables that the user requested individually; no default overwrites them. */
  readonly given: readonly string[]
}

/** A path of this machine, bind-mounted at the same path inside. */
export interface FolderBind {
  readonly path: string
  readonly isWritable: boolean
}

export interface ClosedPath {
  readonly path: string
  readonly to: 'write' | 'all'
}

/** Specification of a wall of a folder. */
export interface FolderWallSpec extends Omit<FolderGrant, 'variables' | 'given'> {
  readonly uid: number
  readonly gid: number
  readonly command: readonly string[]
  /** File descriptors of the standard streams that are terminals. */
  readonly terminals: readonly number[]
  readonly timeoutMs: number | undefined
  readonly memoryBytes: number
  /** True if a control group holds the memory limit, so that the wall need not measure use. */
  readonly isMemoryHeld?: boolean
  readonly processes: number
  /** Port on which the egress proxy listens inside the wall. */
  readonly egressPort: number | undefined
  /** Read-only files on its root: text by path. */
  readonly files?: Readonly<Record<string, string>> | undefined
  /** Overlay in place of the folder, for a dry run. */
  readonly view?: FolderOverlay | undefined
  /** `cgroup.procs` files to which its first process writes itself. */
  readonly groups?: readonly string[] | undefined
}

/** Folders of an overlayfs; changes are written to `upper`. */
export interface FolderOverlay {
  readonly upper: string
  readonly work: string
}

/** A system call that the wall refused. */
export interface FolderRefusal {
  readonly what: 'read' | 'write' | 'name' | 'connect'
  readonly path: string
  readonly rule: 'protected' | 'secret' | 'denied' | 'stream' | 'socket' | 'network'
  /** Name or path of the rule. */
  readonly name: string
  /** Program that asked for the name of a host, as it calls itself. */
  readonly program?: string
}

export type FolderLimit = 'timeout' | 'memory'

/** End of a command. Without a code and a signal, its wall broke or was never built. */
export interface FolderEnd {
  readonly code: number | null
  readonly signal: number | null
  readonly limit?: FolderLimit | undefined
  /** Paths that the command left in folders of memory, where the caller has folders of the same name; the first ones. */
  readonly unkept?: readonly string[] | undefined
  /** Reason why the wall could not be built. */
  readonly notStarted?: string | undefined
  readonly stdout?: Uint8Array | undefined
  readonly stderr?: Uint8Array | undefined
  /** Streams whose end is missing from the captured bytes; undefined if none were captured. */
  readonly truncated?: Readonly<Record<'stdout' | 'stderr', boolean>> | undefined
}

/** A running wall of a folder. */
export interface FolderWall {
  readonly ended: Promise<FolderEnd>
  kill(): void
}
