import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs'

/**
 * Reads of /proc and /sys that work at EMFILE. A process without a free descriptor would take every process for gone, so
 * one spare descriptor is reserved for these reads.
 */
const NOTHING = '/dev/null'
let kept: number | undefined
let keepers = 0

/** Reserves one spare fd so that reading /proc still works at EMFILE. Returns its release; idempotent. */
export function keepDescriptor(): () => void {
  keepers++
  kept ??= openSync(NOTHING, 'r')
  let isOver = false
  return () => {
    if (isOver) return
    isOver = true
    if (--keepers > 0 || kept === undefined) return
    closeSync(kept)
    kept = undefined
  }
}

/** The whole of a file as text. Throws what the file system does. */
export function readText(file: string): string {
  return withKept(() => readFileSync(file, 'utf8'))
}

/** Names in a folder. Throws what the file system does. */
export function readNames(folder: string): readonly string[] {
  return withKept(() => readdirSync(folder))
}

/** Runs a read that opens one descriptor and closes it; at EMFILE, with the reserved one closed meanwhile. */
export function withKept<T>(look: () => T): T {
  try {
    return look()
  } catch (error) {
    if (kept === undefined || !isOutOfDescriptors(error)) throw error
  }
  closeSync(kept)
  kept = undefined
  try {
    return look()
  } finally {
    kept = openSync(NOTHING, 'r')
  }
}

/** EMFILE of this process, or ENFILE of the machine. */
export function isOutOfDescriptors(error: unknown): boolean {
  return ['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException | null)?.code ?? '')
}
