import { accessSync } from 'node:fs'

/** True if this process may access the file or folder in all of these ways (access(2)). */
export function mayAccess(place: string, mode: number): boolean {
  try {
    accessSync(place, mode)
    return true
  } catch {
    return false
  }
}
