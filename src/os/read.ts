import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs'

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

/** Names in a folder. Throws the error of the file system. */
export function readNames(folder: string): readonly string[] {
  return withReservedFd(() => readdirSync(folder))
}

/** Runs a read that opens one descriptor and closes it; at EMFILE the reserved descriptor is closed during the read. */
export function withReservedFd<T>(look: () => T): T {
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
    reserved = openSync(NOTHING, 'r')
  }
}

/** EMFILE of this process, or ENFILE of the machine. */
export function isOutOfDescriptors(error: unknown): boolean {
  return ['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException | null)?.code ?? '')
}
