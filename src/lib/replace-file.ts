import { randomBytes } from 'node:crypto'
import { renameSync, rmSync, writeFileSync } from 'node:fs'

/**
 * Writes a file under another name, and renames it: readers find the old bytes or the new ones, and a killed process leaves a
 * file `NAME.draft-…` at most.
 */
export function replaceFile(
  file: string,
  bytes: string | Uint8Array,
  { mode = 0o600, flush = false }: { readonly mode?: number; readonly flush?: boolean } = {},
): void {
  const draft = draftOf(file)
  try {
    writeFileSync(draft, bytes, { flag: 'wx', mode, flush })
    renameSync(draft, file)
  } finally {
    rmSync(draft, { force: true })
  }
}

/** Name of its own for each call. */
export function draftOf(file: string): string {
  return `${file}.draft-${process.pid}-${randomBytes(4).toString('hex')}`
}
