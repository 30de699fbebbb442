import { constants } from 'node:fs'
import path from 'node:path'
import { mayAccess } from '../lib/may-access.ts'
import { ownFolders, type ProgramSearch } from '../lib/own-path.ts'

/** Path of a program in PATH, without the folders of a project, or in the system's own folders. */
export function findProgram(name: string, search?: ProgramSearch): string | undefined {
  return [...ownFolders(search), '/usr/sbin', '/sbin']
    .map((folder) => path.join(folder, name))
    .find((file) => mayAccess(file, constants.X_OK))
}
