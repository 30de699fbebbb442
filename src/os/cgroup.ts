import { accessSync, constants, existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { openVersion1 } from './cgroup-1.ts'
import { openVersion2 } from './cgroup-2.ts'

/**
 * One control group a wall, in whichever version this machine has: version 1 keeps a tree for each controller,
 * version 2 one for all. Only memory must be there; each other controller is found by itself, and what is missing
 * is said.
 */
export interface CgroupRoot {
  readonly version: 1 | 2
  readonly controllers: readonly Controller[]
  /** A worker needs no more than memory and processes; every controller costs folders in version 1. */
  create(name: string, wanted?: readonly Controller[]): Cgroup
  /** Names of groups left here, by anybody. */
  list(): readonly string[]
  /** Every process in a group of that name; none where there is none. */
  processes(name: string): readonly number[]
  /** Whether nothing of it is left; a group with a dying process in it is busy for a moment. */
  remove(name: string): boolean
}

export const controllers = ['memory', 'pids', 'cpu', 'cpuacct', 'freezer', 'io'] as const
export type Controller = (typeof controllers)[number]

/** What a group may use. Each is read back after writing. */
export interface CgroupLimits {
  /** Bytes. */
  readonly memory?: number
  /** Processes and threads. */
  readonly pids?: number
  /** Cores; Infinity lifts the quota. */
  readonly cpu?: number
  /** Bytes a second, read and written, of each device named `major:minor`. */
  readonly io?: { readonly bytes: number; readonly devices: readonly string[] }
}

export interface Cgroup {
  readonly name: string
  readonly controllers: readonly Controller[]
  /** Moves a process with all its threads; what it had used before stays counted where it was. */
  add(pid: number): void
  /** Throws when the kernel did not take one, or when its controller is missing. */
  limit(to: CgroupLimits): void
  memoryNow(): number
  /** How many processes the kernel ended at the memory limit. */
  memoryKills(): number
  /** Processor time used in it so far, in milliseconds; undefined where nobody counts. */
  cpuMs(): number | undefined
  processes(): readonly number[]
  /** Asks for everything in it to stand still; it does when `isFrozen`. */
  freeze(): void
  thaw(): void
  isFrozen(): boolean
  /** Lets what is dying in it do so at full speed. */
  hurry(): void
  /** The same for somebody else to do: files, each with what is written into it, as `FILE:TEXT`. */
  lifts(): readonly string[]
  /** Whether nothing of it is left. */
  remove(): boolean
}

const MOUNT = '/sys/fs/cgroup'

/** Undefined where this user cannot make groups. */
export function openCgroups(mount: string = MOUNT): CgroupRoot | undefined {
  try {
    return existsSync(path.join(mount, 'cgroup.controllers'))
      ? openVersion2(mount, canMake)
      : openVersion1(mount, canMake)
  } catch {
    return undefined
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
