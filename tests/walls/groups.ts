import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { tryReadText } from '../../src/os/read.ts'

/** Hierarchies of version 1, and the one of version 2. */
const parents = ['memory', 'pids', 'cpu', 'cpuacct', 'freezer', 'blkio', ''].map((name) =>
  join('/sys/fs/cgroup', name, 'mayfly'),
)

/** Empty cgroups of walls: leaked, unless a wall is being created or removed right now. */
export function emptyGroups(): readonly string[] {
  return wallGroups().filter((folder) => tryReadText(join(folder, 'cgroup.procs'))?.trim() === '')
}

/** Cgroups of the walls of this user, in each hierarchy. */
export function wallGroups(): readonly string[] {
  return parents.flatMap((parent) =>
    foldersIn(parent)
      .map((name) => join(parent, name))
      .filter(isOurs),
  )
}

function isOurs(folder: string): boolean {
  return statSync(folder, { throwIfNoEntry: false })?.uid === process.getuid?.()
}

function foldersIn(parent: string): readonly string[] {
  try {
    const entries = readdirSync(parent, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  } catch {
    return []
  }
}
