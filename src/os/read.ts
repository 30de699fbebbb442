import { closeSync, openSync, readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { attempt } from '../lib/attempt.ts'

/**
 * Reads of /proc and /sys that work at EMFILE. Without a free descriptor every process would look as if it were gone,
 * so one spare descriptor is reserved for these reads.
 */
const NOTHING = '/dev/null'
let reserved: number | undefined
let keepers = 0

/** Reserves one spare fd so that reading /proc still works at EMFILE. Returns its release; idempotent. */
export function reserveDescriptor(): () => void {
  keepers++
  reserved ??= openSync(NOTHING, 'r')
  let isOver = false
  return () => {
    if (isOver) return
    isOver = true
    if (--keepers > 0 || reserved === undefined) return
    closeSync(reserved)
    reserved = undefined
  }
}

/** Content of a file as text. Throws the error of the file system. */
export function readText(file: string): string {
  return withReservedFd(() => readFileSync(file, 'utf8'))
}

/** Content of a file as text; undefined if it cannot be read. */
export function tryReadText(file: string): string | undefined {
  return attempt(() => readText(file))
}

/** Target of a symlink; undefined if it cannot be read. */
export function tryReadLink(link: string): string | undefined {
  return attempt(() => readlinkSync(link))
}

/** Names in a folder; none if it cannot be read. */
export function tryReadNames(folder: string): readonly string[] {
  return attempt(() => readNames(folder)) ?? []
}

/** Names in a folder. Throws the error of the file system. */
export function readNames(folder: string): readonly string[] {
  return withReservedFd(() => readdirSync(folder))
}

/** Runs a read that opens one descriptor and closes it; at EMFILE the reserved descriptor is closed during the read. */
export function withReservedFd<T>(look: () => T): T {
  if (keepers > 0) reserved ??= attempt(() => openSync(NOTHING, 'r'))
  try {
    return look()
  } catch (error) {
    if (reserved === undefined || !isOutOfDescriptors(error)) throw error
  }
  closeSync(reserved)
  reserved = undefined
  try {
    return look()
  } finally {
    // Another thread may have taken the descriptor meanwhile; then the next read tries again.
    reserved = attempt(() => openSync(NOTHING, 'r'))
  }
}

/** EMFILE of this process, or ENFILE of the machine. */
export function isOutOfDescriptors(error: unknown): boolean {
  return ['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException | null)?.code ?? '')
}
