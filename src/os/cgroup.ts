import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'

/**
 * One control group a wall, in whichever version this machine has: version 1 keeps a tree for each controller,
 * version 2 one for all. Only memory and pids here; both are optional, and what is missing is said.
 */
export interface CgroupRoot {
  readonly version: 1 | 2
  readonly controllers: readonly ('memory' | 'pids')[]
  create(name: string): Cgroup
  /** Names of groups left here, by anybody. */
  list(): readonly string[]
  /** Whether nothing of it is left; a group with a dying process in it is busy for a moment. */
  remove(name: string): boolean
}

export interface Cgroup {
  readonly name: string
  /** Moves a process with all its threads; what it had used before stays counted where it was. */
  add(pid: number): void
  /** Bytes and count; read back after writing. Throws when the kernel did not take it. */
  limit(to: { readonly memory?: number; readonly pids?: number }): void
  memoryNow(): number
  /** How many processes the kernel ended at the memory limit. */
  memoryKills(): number
  /** Whether nothing of it is left. */
  remove(): boolean
}

const MOUNT = '/sys/fs/cgroup'
const PARENT = 'mayfly'

/** Undefined where this user cannot make groups. */
export function openCgroups(mount: string = MOUNT): CgroupRoot | undefined {
  try {
    return existsSync(path.join(mount, 'cgroup.controllers'))
      ? openVersion2(mount)
      : openVersion1(mount)
  } catch {
    return undefined
  }
}

function openVersion1(mount: string): CgroupRoot | undefined {
  const controllers = (['memory', 'pids'] as const).filter((name) =>
    canMake(path.join(mount, name, PARENT)),
  )
  if (!controllers.includes('memory')) return undefined
  const folders = (name: string) =>
    controllers.map((controller) => path.join(mount, controller, PARENT, name))
  return {
    version: 1,
    controllers,
    list: () => groupsIn(path.join(mount, 'memory', PARENT)),
    remove: (name) => folders(name).map(removeFolder).every(Boolean),
    create(name) {
      for (const folder of folders(name)) mkdirSync(folder, { recursive: true })
      const memory = path.join(mount, 'memory', PARENT, name)
      const pids = path.join(mount, 'pids', PARENT, name)
      return {
        name,
        add: (pid) => folders(name).forEach((folder) => put(folder, 'cgroup.procs', pid)),
        limit(to) {
          if (to.memory !== undefined) putBack(memory, 'memory.limit_in_bytes', to.memory)
          if (to.pids !== undefined && controllers.includes('pids'))
            putBack(pids, 'pids.max', to.pids)
        },
        memoryNow: () => number(memory, 'memory.usage_in_bytes'),
        memoryKills: () => countIn(memory, 'memory.oom_control'),
        remove: () => folders(name).map(removeFolder).every(Boolean),
      }
    },
  }
}

function openVersion2(mount: string): CgroupRoot | undefined {
  const parent = path.join(mount, PARENT)
  if (!canMake(parent)) return undefined
  const offered = readFileSync(path.join(parent, 'cgroup.controllers'), 'utf8').trim().split(' ')
  const controllers = (['memory', 'pids'] as const).filter((name) => offered.includes(name))
  if (!controllers.includes('memory')) return undefined
  put(parent, 'cgroup.subtree_control', controllers.map((name) => `+${name}`).join(' '))
  return {
    version: 2,
    controllers,
    list: () => groupsIn(parent),
    remove: (name) => removeFolder(path.join(parent, name)),
    create(name) {
      const folder = path.join(parent, name)
      mkdirSync(folder, { recursive: true })
      return {
        name,
        add: (pid) => put(folder, 'cgroup.procs', pid),
        limit(to) {
          if (to.memory !== undefined) {
            putBack(folder, 'memory.max', to.memory)
            tryPut(folder, 'memory.swap.max', 0)
          }
          if (to.pids !== undefined && controllers.includes('pids'))
            putBack(folder, 'pids.max', to.pids)
        },
        memoryNow: () => number(folder, 'memory.current'),
        memoryKills: () => countIn(folder, 'memory.events'),
        remove: () => removeFolder(folder),
      }
    },
  }
}

function canMake(folder: string): boolean {
  try {
    mkdirSync(folder, { recursive: true })
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function put(folder: string, file: string, value: number | string): void {
  writeFileSync(path.join(folder, file), String(value))
}

function tryPut(folder: string, file: string, value: number | string): void {
  try {
    put(folder, file, value)
  } catch {
    // A kernel without swap accounting has no such file, and no swap to account for.
  }
}

/** The kernel rounds down to pages; anything above what was asked is a limit that does not hold. */
function putBack(folder: string, file: string, value: number): void {
  put(folder, file, value)
  const holds = number(folder, file)
  if (!(holds <= value)) throw new Error(`${file} is ${holds} after writing ${value}`)
}

function number(folder: string, file: string): number {
  return Number(readFileSync(path.join(folder, file), 'utf8'))
}

function groupsIn(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}

function countIn(folder: string, file: string): number {
  const text = readFileSync(path.join(folder, file), 'utf8')
  return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0)
}

function removeFolder(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}
