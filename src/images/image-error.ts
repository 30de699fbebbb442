import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { MayflyError, messageOf, type ErrorCode } from '../contract/error.ts'

const full = new Set(['ENOSPC', 'EDQUOT'])
/** Less than this free counts as full, for programs that do not say why they failed. */
const freeBytesMin = 256 * 2 ** 10

/** Maps a failure to DISK_FULL, or to `code` with its reason. A MayflyError and an abort pass unchanged. */
export function imageError(action: string, thrown: unknown, code: ErrorCode = 'STATE'): unknown {
  if (thrown instanceof MayflyError || (thrown as Error | undefined)?.name === 'AbortError')
    return thrown
  if (full.has((thrown as NodeJS.ErrnoException | undefined)?.code ?? ''))
    return diskFull(action, thrown)
  return new MayflyError(code, `Cannot ${action}: ${messageOf(thrown)}`, { cause: thrown })
}

export function diskFull(action: string, cause?: unknown): MayflyError {
  return new MayflyError('DISK_FULL', `Cannot ${action}: the disk is full`, {
    hint: 'Make room on that disk, or run "mayfly images gc"',
    cause,
  })
}

/** True for the message of a program, or the disk of a path, that has no room. */
export function isFull(said: string, path: string): boolean {
  if (/no space left|quota exceeded|Error 28/i.test(said)) return true
  try {
    const { bavail, bsize } = statfsSync(dirname(path))
    return bavail * bsize < freeBytesMin
  } catch {
    return false
  }
}
