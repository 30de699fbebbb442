import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { MayflyError, messageOf, type ErrorCode } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'

const full = new Set(['ENOSPC', 'EDQUOT'])
/** Less free space than this counts as a full disk, for programs that report no reason. */
const freeBytesMin = 256 * 2 ** 10

/** Maps a failure to DISK_FULL, or to `code` with its reason. A MayflyError or an abort passes unchanged. */
export function imageError(action: string, thrown: unknown, code: ErrorCode = 'STATE'): unknown {
  if (thrown instanceof MayflyError || (thrown as Error | undefined)?.name === 'AbortError')
    return thrown
  if (full.has((thrown as NodeJS.ErrnoException | undefined)?.code ?? ''))
    return diskFull(action, thrown)
  return new MayflyError(code, `Cannot ${action}: ${messageOf(thrown)}`, { cause: thrown })
}

export function diskFull(action: string, cause?: unknown): MayflyError {
  return new MayflyError('DISK_FULL', `Cannot ${action}: the disk is full`, {
    hint: 'Free space on that disk, or run "mayfly images gc"',
    cause,
  })
}

/** True if a program's message indicates a full disk, or the disk of the path has no space left. */
export function saysDiskFull(text: string, path: string): boolean {
  if (/no space left|quota exceeded|Error 28/i.test(text)) return true
  const facts = attempt(() => statfsSync(dirname(path)))
  return facts !== undefined && facts.bavail * facts.bsize < freeBytesMin
}
