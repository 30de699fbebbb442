import type { Controls } from '../contract/controls.ts'

/** Granted folders of one run, as its sandbox uses them. `assemble/` injects the function that opens them. */
export interface FolderCalls {
  /** Answers a request of a guest, both as JSON. Rejects for a path that is not granted or does not exist. */
  answer(text: string): Promise<string>
  /** Applies the tightened controls at once, to calls in flight too. */
  tighten(to: Controls): void
}

export interface FolderCallOptions {
  readonly controls: Controls
  readonly run: string
  /** Limit of bytes that the run may write, all files together. */
  readonly writtenMax: number
}

/** Loads its modules when the first job needs them. */
export type OpenFolders = (asked: FolderCallOptions) => Promise<FolderCalls>

/** Capability for files of a realm; present only if a folder is granted. */
export const filesCapability = 'mayfly.files'
