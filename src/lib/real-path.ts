import { realpathSync } from 'node:fs'

/** The path without symlinks; unchanged if it cannot be resolved. */
export function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
