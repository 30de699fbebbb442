import type { JailMount, MountedLayer } from './whole.ts'

/** Description of a jail, built in new namespaces by `guest/enter.js` or as steps of the launcher. */
export interface JailSpec {
  /** True if the process may build a root of its own. */
  readonly mounts: boolean
  /** Existing folder over which the root is mounted; only this mount namespace sees it. */
  readonly over: string
  /** Folders and files of the root, read-only, each at its host path. */
  readonly tree: readonly string[]
  readonly links: readonly { readonly at: string; readonly target: string }[]
  /** Bytes of the root's tmpfs. */
  readonly scratchBytes: number
  /** User that it becomes, if the user namespace maps it. */
  readonly user: { readonly uid: number; readonly gid: number } | null
  readonly hostname: string
  readonly landlock: boolean
  /** Filter in hex. */
  readonly seccomp: string | null
  readonly limits: Readonly<Record<string, number>>
  /** Descriptors that the program gets. */
  readonly kept: readonly number[]
  /** Further parts of a wall for whole programs. */
  readonly whole: WholeSpec | null
  readonly exec: {
    readonly path: string
    readonly args: readonly string[]
    readonly env: Readonly<Record<string, string>>
  }
}

export interface WholeSpec {
  readonly writable: readonly string[]
  /** Bytes of all scratch folders together. */
  readonly scratchBytes?: number
  readonly scratchFolders?: readonly string[]
  /** Files and folders with another path inside. */
  readonly places?: readonly JailMount[]
  readonly layers?: readonly MountedLayer[]
  /** Contents of files by path. */
  readonly etc?: Readonly<Record<string, string>>
  readonly devices?: readonly string[]
  /** Folder of its terminals, with the options of its devpts. */
  readonly terminals?: { readonly at: string; readonly options: string }
  /** Parts of /proc that are covered. */
  readonly proc?: { readonly folders: readonly string[]; readonly files: readonly string[] } | null
  /** Contents of the files of /proc/sys by path, and the kernel's own file that is bound there. */
  readonly settings?: {
    readonly at: string
    readonly files: Readonly<Record<string, string>>
    readonly shown: string
  }
  readonly workFolder?: string
}
