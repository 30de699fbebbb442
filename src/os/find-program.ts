import { accessSync, constants } from 'node:fs'
import path from 'node:path'

/** Path of a program in PATH or in the system's own folders; relative entries of PATH are skipped. */
export function findProgram(name: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter(path.isAbsolute)
  return [...folders, '/usr/sbin', '/sbin']
    .map((folder) => path.join(folder, name))
    .find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
