import { MayflyError, messageOf } from '../contract/error.ts'

/** What SQLite's primary result codes mean for an operator. */
const hints: Readonly<Record<number, string>> = {
  3: 'Let the user that runs Mayfly own the state folder.',
  5: 'Another process holds the log for too long; see who has it open.',
  6: 'Another process holds the log for too long; see who has it open.',
  8: 'Let the user that runs Mayfly write to the state folder.',
  10: 'The disk does not answer as it should; look at the system log.',
  11: 'The file is damaged: run "mayfly audit verify", keep a copy, and restore it from a backup.',
  13: 'The disk is full: make room, or move the state folder with "--state".',
  14: 'Let the state folder exist and belong to the user that runs Mayfly.',
  26: 'The file is no log of Mayfly: restore it from a backup, or choose another folder with "--state".',
}
const codeOfErrno: Readonly<Record<string, number>> = {
  EACCES: 3,
  EPERM: 3,
  EROFS: 8,
  ENOSPC: 13,
  ENOTDIR: 14,
}

/** A storage failure as MayflyError STATE, with what to do about it. A MayflyError stays as it is. */
export function stateError(action: string, path: string, thrown: unknown): MayflyError {
  if (thrown instanceof MayflyError) return thrown
  const { errcode, code } = (thrown ?? {}) as { errcode?: number; code?: string }
  const hint = hints[(errcode ?? codeOfErrno[code ?? ''] ?? 0) & 0xff]
  const parts = { detail: String(code), cause: thrown }
  const message = `Cannot ${action} the record "${path}": ${messageOf(thrown)}`
  return new MayflyError('STATE', message, hint ? { hint, ...parts } : parts)
}
