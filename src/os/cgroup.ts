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
  /** Lets a process of ours come before all walls together, where nobody else gave it a place. Never throws. */
  comeFirst(pid: number): void
  /** A worker needs no more than memory and processes; every controller costs folders in version 1. */
  create(name: string, wanted?: readonly Controller[]): Cgroup
  /** Names of groups left here, by anybody. */
  list(): readonly string[]
  /** Those of walls that nobody is in, made so many milliseconds ago: whoever had them died, and its leases with it. */
  forgotten(olderThanMs: number): readonly string[]
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
  /**
   * A group within this one, with limits of its own below those of this one; what is in it is in this one too, for
   * whoever asks what is there, freezes, hurries or removes it.
   */
  below(name: string): Cgroup
  /**
   * Moves a process with all its threads; what it had used before stays counted where it was. For this the kernel
   * waits for every fork on the machine: some ten milliseconds, and a hundred where many fork who are out of time.
   */
  add(pid: number): void
  /**
   * Files into which a process writes `0` to come in by itself. In version 1 one that has a single thread waits for
   * nobody then. What it starts is in the group from its first moment.
   */
  doors(): readonly string[]
  /** Whether all of its controllers hold this process. */
  holds(pid: number): boolean
  /** Comes after others until it has a limit of its processor time: nobody waits for it. */
  giveWay(): void
  /** Throws when the kernel did not take one, or when its controller is missing. */
  limit(to: CgroupLimits): void
  /** Bytes, without what the kernel could take back by forgetting files that it has read. */
  memoryNow(): number
  /** Bytes that its processes made: for themselves and their own children, and in what may be shared, scratch among it. */
  ownMemory(): { readonly own: number; readonly shared: number }
  /** What it took to start is not what its job fills it with. */
  forgetPeak(): void
  /** How many of its processes the kernel ended for memory; those of groups below count there. */
  memoryKills(): number
  /** Whether its own limit was what came in the way; of groups within each other a kill counts where its victim was. */
  hasBeenFull(): boolean
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
  /** The file of its bound on processes, which takes a number; undefined without that controller. */
  pidsFile(): string | undefined
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
