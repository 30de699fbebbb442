import type { NetworkControl } from './controls.ts'

/** A command in a folder of this machine: what its wall shows and closes. Paths are canonical. */
export interface FolderGrant {
  /** Working folder of the command. */
  readonly folder: string
  /** Hidden but for what is bound below it. */
  readonly home: string | undefined
  readonly binds: readonly FolderBind[]
  /** Closed to changes alone, or also to reading; they need not exist. */
  readonly closed: readonly ClosedPath[]
  /** Files that may be read though they have the name of a secret. */
  readonly lifted: readonly string[]
  /** Names that are secrets here too, as in the table of the policy. */
  readonly secretNames: readonly string[]
  readonly variables: Readonly<Record<string, string>>
  /** Names of variables that were asked for one by one: nothing else sets them. */
  readonly given: readonly string[]
}

/** A path of this machine, shown at its own place. */
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
  /** Descriptors of standard streams that are terminals. */
  readonly terminals: readonly number[]
  readonly timeoutMs: number | undefined
  readonly memoryBytes: number
  readonly processes: number
  /** Port inside on which its egress path listens. */
  readonly egressPort: number | undefined
  /** Files on its root, which nothing there changes: path and text. */
  readonly files?: Readonly<Record<string, string>> | undefined
  /** A view in place of the folder: what changes lies in `upper`. */
  readonly view?: FolderViewPlace | undefined
  /** Files of a control group, by which its first process enters it. */
  readonly groups?: readonly string[] | undefined
}

export interface FolderViewPlace {
  readonly upper: string
  readonly work: string
}

/** A call that the wall refused. */
export interface FolderRefusal {
  readonly what: 'read' | 'write' | 'name' | 'connect'
  readonly path: string
  readonly rule: 'protected' | 'secret' | 'denied' | 'socket'
  /** Name or path of the rule. */
  readonly name: string
}

export type FolderLimit = 'timeout' | 'memory'

/** End of a command. Without a code and a signal its wall broke, or never stood. */
export interface FolderEnd {
  readonly code: number | null
  readonly signal: number | null
  readonly limit?: FolderLimit | undefined
  /** Reason why the wall could not be built. */
  readonly notStarted?: string | undefined
  readonly stdout?: Uint8Array | undefined
  readonly stderr?: Uint8Array | undefined
}

/** A wall of a folder as it runs. */
export interface FolderWall {
  readonly ended: Promise<FolderEnd>
  kill(): void
}

/** Network of a command, and hosts of it that may be private. */
export interface FolderNetwork {
  readonly network: NetworkControl
  readonly privateHosts: readonly string[]
}
