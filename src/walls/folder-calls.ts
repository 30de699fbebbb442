import type { Controls } from '../contract/controls.ts'

/** Granted folders of one run, as its sandbox uses them. `assemble/` injects the function that opens them. */
export interface FolderCalls {
  /** Answers a request of a guest, both as JSON. Rejects for a path that is not granted, or not there. */
  answer(text: string): Promise<string>
  /** From here on the stricter controls hold, for calls under way too. */
  tighten(to: Controls): void
}

export interface FoldersAsked {
  readonly controls: Controls
  readonly run: string
  /** Bytes that the run may write, all files together. */
  readonly writtenMax: number
}

/** Loads its modules when the first job needs them. */
export type OpenFolders = (asked: FoldersAsked) => Promise<FolderCalls>

/** The capability by which a realm reads and writes; it is there where a folder is granted, and only there. */
export const filesCapability = 'mayfly.files'
