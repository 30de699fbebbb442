import { accessSync, constants } from 'node:fs'
import path from 'node:path'
import { ownFolders, type ProgramSearch } from '../lib/own-path.ts'

/** Path of a program in PATH, without the folders of a project, or in the system's own folders. */
export function findProgram(name: string, search?: ProgramSearch): string | undefined {
  return [...ownFolders(search), '/usr/sbin', '/sbin']
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
