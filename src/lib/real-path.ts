import { realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** The path without symlinks; unchanged if it cannot be resolved. */
export function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** Canonical path of an absolute one; for a missing one, the nearest existing parent is resolved. */
export function canonicalPath(absolute: string): string {
  try {
    return realpathSync(absolute)
  } catch {
    const above = dirname(absolute)
    return above === absolute ? absolute : join(canonicalPath(above), basename(absolute))
  }
}
