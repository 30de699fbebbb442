import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'

/** Operator hints by SQLite primary result code. */
const hints: Readonly<Record<number, string>> = {
  3: 'Let the user that runs Mayfly own the state folder.',
  5: 'Another process holds the log for too long; see who has it open.',
  6: 'Another process holds the log for too long; see who has it open.',
  8: 'Let the user that runs Mayfly write to the state folder.',
  10: 'The disk does not answer as it should; look at the system log.',
  11: 'The file is damaged: run "mayfly audit verify", keep a copy, and restore it from a backup.',
  14: 'Let the state folder exist and belong to the user that runs Mayfly, or name another with "MAYFLY_STATE".',
  26: 'The file is no log of Mayfly: restore it from a backup, or choose another folder with "MAYFLY_STATE".',
}
const codeOfErrno: Readonly<Record<string, number>> = {
  EACCES: 3,
  EPERM: 3,
  EROFS: 8,
  ENOSPC: 13,
  EDQUOT: 13,
  ENOTDIR: 14,
  ENOENT: 14,
}

const IO = 10
const FULL = 13
/** Minimum that SQLite needs to start: with less it reports "disk I/O error" when growing its shared memory. */
const LEAST_BYTES = 64 * 2 ** 10
const RETRY_MS = 5_000

/** Maps a storage failure to MayflyError STATE or DISK_FULL with a hint. A MayflyError passes unchanged. */
export function stateError(action: string, path: string, thrown: unknown): MayflyError {
  if (thrown instanceof MayflyError) return thrown
  const { errcode, code } = (thrown ?? {}) as { errcode?: number; code?: string }
  const known = (errcode ?? codeOfErrno[code ?? ''] ?? 0) & 0xff
  if (known === FULL || (known === IO && isFull(path))) return diskFull(action, path, thrown)
  const hint = hints[known]
  const parts = { detail: String(code), cause: thrown }
  const message = `Cannot ${action} the record "${path}": ${messageOf(thrown)}`
  return new MayflyError('STATE', message, hint ? { hint, ...parts } : parts)
}

/** True if the disk of a state file has the free bytes that are needed; `needed` is given the size of the disk. */
export function hasFree(path: string, needed: (diskBytes: number) => number): boolean {
  const facts = attempt(() => statfsSync(dirname(path)))
  return !facts || facts.bavail * facts.bsize >= needed(facts.blocks * facts.bsize)
}

/** True if the disk of a state file has no free blocks or inodes. */
export function isFull(path: string): boolean {
  const facts = attempt(() => statfsSync(dirname(path)))
  if (!facts) return false
  const { bavail, bsize, files, ffree } = facts
  return bavail * bsize < LEAST_BYTES || (files > 0 && ffree === 0)
}

export const roomHint = 'Make room on that disk, or move the state folder with "MAYFLY_STATE"'

/** Causes for which a body finds no room in the state folder, and ways out. */
export const roomLacks = {
  disk: { why: 'the disk of the state folder has no room for it', hint: roomHint },
  store: {
    why: 'the store of outcomes, artifacts and captures is at its own limit',
    hint: 'Try again in a minute, when the oldest are deleted, or store less; the disk need not be larger',
  },
} as const
export type RoomLack = keyof typeof roomLacks

function diskFull(action: string, path: string, cause: unknown): MayflyError {
  return new MayflyError('DISK_FULL', `Cannot ${action} the record "${path}": the disk is full`, {
    hint: roomHint,
    detail: messageOf(cause),
    retryAfterMs: RETRY_MS,
    cause,
  })
}
