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

/** As `realPath`. Of a path whose end does not exist yet, the existing part is resolved. */
export function expectedRealPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const parent = dirname(path)
    return parent === path ? path : join(expectedRealPath(parent), basename(path))
  }
}
