import { closeSync, openSync, readFileSync, readdirSync } from 'node:fs'

/**
 * Reads of what the kernel tells. A process that has no descriptors left would take whoever it asks after for gone, so
 * one is kept for that moment: whatever else waits for one, a look at a process or a group does not.
 */
const NOTHING = '/dev/null'
let kept: number | undefined
let keepers = 0

/** Keeps one until whoever asked gives it back; who never asks has none in reserve. */
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

/** Does what opens one descriptor and closes it again, with the one that is kept where there is no other. */
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

/** Whether this process, or the machine, may open nothing more. */
export function isOutOfDescriptors(error: unknown): boolean {
  return ['EMFILE', 'ENFILE'].includes((error as NodeJS.ErrnoException | null)?.code ?? '')
}
