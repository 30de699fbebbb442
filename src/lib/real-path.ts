import { realpathSync } from 'node:fs'

/** The path without links; the path as given where it cannot be resolved. */
export function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}
