import type { CellPlan } from './cell.ts'
import { MayflyError } from './error.ts'
import type { OutcomeError } from './outcome-error.ts'
import type { Stdin } from './surroundings.ts'

/** Exec of a session as it crosses the wall: bytes, names and limits. Exactly one of `code` and `command` is given. */
export interface ExecTask {
  /** A cell: it runs in the session's interpreter, and the value of its last expression is the result. */
  readonly code?: string
  /** For ts and node: the code has types, which the wall erases. */
  readonly typed?: boolean
  /** For js and ts: edits that keep the cell's names for later cells. */
  readonly cell?: CellPlan
  /** A program, run next to the interpreter: an argument vector, or a line for `sh -c`. */
  readonly command?: string | readonly string[]
  readonly inputText?: string
  readonly stdin?: Stdin
  /** Environment variables, for this exec alone. */
  readonly env?: Readonly<Record<string, string>>
  /** Milliseconds until it is interrupted. */
  readonly timeoutMs: number
  /** Milliseconds of processor time after which it is interrupted. */
  readonly cpuTimeMs?: number
  /** Bytes of each of its output streams. */
  readonly outputBytesMax: number
  readonly resultBytesMax: number
  readonly artifactBytesMax: number
}

/** `lost`: the interpreter was restarted, so that variables and imports are gone. */
export const sessionStates = ['kept', 'lost'] as const
export type SessionState = (typeof sessionStates)[number]

export const sessionEntryTypes = ['file', 'folder', 'link', 'other'] as const

/** An entry below the working folder of a session, as its guest reports it. */
export interface SessionEntry {
  readonly path: string
  readonly type: (typeof sessionEntryTypes)[number]
  /** Bytes; 0 for all but files. */
  readonly size: number
  /** Milliseconds since 1970. */
  readonly modifiedMs: number
}

export interface SessionListing {
  readonly entries: readonly SessionEntry[]
  /** The folder has more entries than the guest lists. */
  readonly truncated: boolean
}

/** Files below the working folder of a live sandbox; paths are relative to it. */
export interface SessionFiles {
  /** Creates parent folders, and replaces a file. Throws MayflyError INVALID, TOO_LARGE, OVERLOADED or STATE. */
  put(path: string, bytes: Uint8Array): Promise<void>
  /** Throws MayflyError NOT_FOUND, INVALID for anything but a plain file, and TOO_LARGE above `bytesMax`. */
  get(path: string, bytesMax: number): Promise<Uint8Array>
  list(path: string): Promise<SessionListing>
}

/** Largest file that a caller gets out of a session, in bytes. */
export const sessionFileBytesMax = 32 * 2 ** 20

export function sessionBusy(): MayflyError {
  return new MayflyError('BUSY', 'Cannot run this now: the session runs another exec', {
    hint: 'Wait for its end, or open another session',
  })
}

/** Error of a call on a session that has ended. Names the cause, where `end` is an end that its host brought about. */
export function sessionEnded(
  end?: SessionEnd,
  hint = `${lostWithIt}: open another one`,
): MayflyError {
  return new MayflyError('SESSION_ENDED', `Cannot use the session: ${causeOf(end)}`, { hint })
}

/** Text on what an ended session takes with it. */
export const lostWithIt = 'Its variables, files and processes are gone'

/** Status and error of an end of a session. */
export interface SessionEnd {
  readonly status: string
  readonly error?: OutcomeError | null | undefined
  /** Message for an exec or a terminal that ended with it, in place of one that names no cause. */
  readonly toldUnderIt?: string
}

/** Bounds of a session that close it: its deadline, and the longest time without use. */
export type SessionBound = 'timeout' | 'idle'

/** End of a session that was closed at one of its bounds. */
export const boundEnds: Readonly<Record<SessionBound, SessionEnd>> = {
  timeout: {
    status: 'timeout',
    toldUnderIt:
      'The time of its session was over: renew the session, or open it with a longer "timeout"',
  },
  idle: {
    status: 'terminated',
    error: { code: 'SESSION_ENDED', message: 'nothing used it for its "idle" time' },
    toldUnderIt:
      'Nothing used its session for its "idle" time: open the session with a longer "idle"',
  },
}

/** Cause of an end of a session, as the end of a sentence. */
export function causeOf(end: SessionEnd | undefined): string {
  if (end?.status === 'timeout') return 'its time was over'
  if (end?.status === 'limit' && end.error) return `${end.error.code} ended it`
  if (end?.status === 'terminated' && end.error) return `it was terminated: ${end.error.message}`
  return 'it has ended'
}
