import type { GroupRank, TaskCounts } from './cgroup-interface.ts'
import {
  closeSync,
  existsSync,
  openSync,
  readSync,
  readdirSync,
  rmdirSync,
  writeFileSync,
  writeSync,
  statSync,
} from 'node:fs'
import path from 'node:path'
import type { OpenFileCache } from './open-file-cache.ts'
import { attempt } from '../lib/attempt.ts'
import { readText, tryReadText, withReservedFd } from './read.ts'

/** Control group files, as far as cgroup v1 and v2 are alike. */

/** Parent of all groups, below the root of each controller (v1) or the single root (v2). */
export const groupsFolder = 'mayfly'
/** Kernel default of the CFS period, and the longest that is set. */
export const cpuPeriodUs = 100_000
const CPU_PERIOD_US_MIN = 10_000
/** Least quota that the kernel accepts (`min_cfs_quota_period`). */
const CPU_QUOTA_US_MIN = 1_000
/** Quota of a limit below one core, in one period: bounds how long a burst may crowd out other walls. */
const CPU_QUOTA_US_SMALL = 2_000
/** Lowest weight that both versions accept. */
const WEIGHT_MIN = 2
/** Longest text of a file: `io.max` has a line for each device. */
const TEXT_BYTES_MAX = 16_384

export function put(folder: string, file: string, value: number | string): void {
  withReservedFd(() => writeFileSync(path.join(folder, file), String(value)))
}

export function tryPut(folder: string, file: string, value: number | string): void {
  try {
    if (existsSync(path.join(folder, file))) put(folder, file, value)
  } catch {
    // ENOENT: this kernel lacks the file, or the group was removed.
  }
}

/**
 * Writes a limit and reads it back, unless it is already in force. The kernel rounds down to pages; throws for a higher
 * value, which means that the limit is not enforced. True if it was written.
 */
export function putBack(
  files: OpenFileCache,
  folder: string,
  file: string,
  value: number,
): boolean {
  if (Number(valueIn(files, folder, file)) === value) return false
  const holds = Number(exchange(folder, file, String(value)))
  if (!(holds <= value)) throw new Error(`${file} is ${holds} after writing ${value}`)
  return true
}

/** Writes a text and reads it back, unless it is already in force. */
export function putSame(files: OpenFileCache, folder: string, file: string, value: string): void {
  if (valueIn(files, folder, file) !== value) putText(folder, file, value, exactly(value))
}

/** Text in force, without its newline; undefined if it cannot be read. */
function valueIn(files: OpenFileCache, folder: string, file: string): string | undefined {
  return attempt(() => files.read(folder, file).trimEnd()) || undefined
}

const exactly = (value: string) => new RegExp(`^${value}\\s*$`)

/** Writes a file that reads back in another format; throws unless that matches `holds`. */
export function putText(folder: string, file: string, value: string, holds: RegExp): void {
  const text = exchange(folder, file, value)
  if (!holds.test(text)) throw new Error(`${file} is "${text.trim()}" after writing "${value}"`)
}

/** Writes a value and reads back the one in force, on a single descriptor: this is on the critical path of every job. */
function exchange(folder: string, file: string, value: string): string {
  return withReservedFd(() => {
    const fd = openSync(path.join(folder, file), 'w+')
    try {
      writeSync(fd, value)
      const text = Buffer.alloc(TEXT_BYTES_MAX)
      return text.toString('utf8', 0, readSync(fd, text, 0, text.length, 0))
    } finally {
      closeSync(fd)
    }
  })
}

/**
 * Factors of the usual CPU weight until a wall is claimed. A spare is below every wall with a job. A wall for a waiting
 * short job is above: its start takes about 60 ms of CPU time, which with the usual weight next to a dozen walls would
 * take twelve times as long.
 */
export const weightAtStart = { spare: 0.25, urgent: 16 } as const

/**
 * CPU weight of a limit in cores, squared: a quota alone lets many small walls crowd out all others at the beginning of
 * each period, when all of them may run, and with linear weights twenty walls of a twentieth of a core would outrank one
 * of a whole core. `usual` is the kernel's default weight.
 */
function weightFor(cores: number, usual: number): number {
  return Math.max(WEIGHT_MIN, Math.round(Math.min(1, cores) ** 2 * usual))
}

const shared = new Map<string, WeightOfAll>()

/**
 * Weight of all walls together, relative to other processes of the machine. It is raised while a wall is being killed:
 * otherwise CPU load outside Mayfly doubles the time of a kill (20 ms on two cores for 10 ms of work). It is not raised
 * while another wall has a job, which would outrank the server, the warden and their clients (next to six looping
 * programs, the p95 of a job of 20 ms rose to 150 ms); the dying wall has the highest weight among walls anyway.
 */
export class WeightOfAll {
  readonly #weigh: (isRaised: boolean) => void
  readonly #dying = new Set<string>()
  readonly #running = new Set<string>()
  #isRaised = false

  constructor(weigh: (isRaised: boolean) => void) {
    this.#weigh = weigh
  }

  die(name: string): void {
    this.#dying.add(name)
    this.#running.delete(name)
    this.#decide()
  }

  setJob(name: string, hasJob: boolean): void {
    if (this.#dying.has(name)) return
    if (hasJob) this.#running.add(name)
    else this.#running.delete(name)
    this.#decide()
  }

  forget(name: string): void {
    this.#dying.delete(name)
    this.#running.delete(name)
    this.#decide()
  }

  /** Instance of a folder; engines in one process share it. */
  static of(parent: string, weigh: (isRaised: boolean) => void): WeightOfAll {
    const known = shared.get(parent)
    if (known) return known
    const made = new WeightOfAll(weigh)
    shared.set(parent, made)
    return made
  }

  #decide(): void {
    const isRaised = this.#dying.size > 0 && this.#running.size === 0
    if (isRaised !== this.#isRaised) this.#weigh((this.#isRaised = isRaised))
  }
}

/** Limits below this many cores run as SCHED_IDLE (`cpu.idle`): they yield to every other group at once. */
const IDLE_BELOW = 0.1

/**
 * Factor of the weight for the group of a long-running job. SCHED_IDLE would yield sooner, but an idle task that is
 * preempted inside fork(2) holds cgroup_threadgroup_rwsem until it is scheduled again, and every fork on the machine
 * waits.
 */
const PART_BEHIND = 0.02
/**
 * Factor of the weight for the group of a job that is expected to be short: next to N walls it would take N times as
 * long.
 */
const PART_AHEAD = 8
const PARTS = { ahead: PART_AHEAD, job: 1, behind: PART_BEHIND, parked: 1 } as const

interface CpuWeightParts {
  readonly name: string
  /** Undefined without a controller. */
  readonly folder: string | undefined
  readonly file: string
  /** The kernel's default weight. */
  readonly usual: number
  readonly all: WeightOfAll
}

/** CPU weight of one group, computed from its CPU limit and its rank. */
export class CpuWeight {
  readonly #to: CpuWeightParts
  #cores = Infinity
  #part = 1
  /** True if the weight for `#cores` and `#part` is written and still in force. */
  #isPut = false

  constructor(to: CpuWeightParts) {
    this.#to = to
  }

  limit(cores: number): void {
    if (this.#isPut && cores === this.#cores) return
    this.#cores = cores
    this.#put()
  }

  /** To be called after another function has written the weight of this group. */
  forget(): void {
    this.#isPut = false
  }

  rank(rank: GroupRank): void {
    const part = PARTS[rank]
    if (part !== this.#part) {
      this.#part = part
      this.#put()
    }
    this.#to.all.setJob(this.#to.name, rank !== 'parked')
  }

  /** An idle group (`cpu.idle`) has no weight: the kernel refuses writes of it. */
  #put(): void {
    const { folder, file, usual } = this.#to
    this.#isPut = true
    if (folder === undefined) return
    const isIdle = this.#cores < IDLE_BELOW
    if (isIdle && existsSync(path.join(folder, 'cpu.idle'))) return tryPut(folder, 'cpu.idle', 1)
    tryPut(folder, 'cpu.idle', 0)
    const weight = weightFor(this.#cores, usual) * this.#part
    tryPut(folder, file, Math.max(WEIGHT_MIN, Math.round(weight)))
  }
}

/**
 * CFS quota and period in microseconds. A group may spend its whole quota at the beginning of a period: with a period of
 * 100 ms, twenty walls of a twentieth of a core each would occupy two cores for half of it, so small limits get a short
 * period. One core and more keeps the long period, because programs with many threads use it in bursts.
 */
export function quotaUs(cores: number): { readonly quota: number; readonly period: number } {
  const short = Math.max(CPU_PERIOD_US_MIN, Math.round(CPU_QUOTA_US_SMALL / cores))
  const period = cores >= 1 ? cpuPeriodUs : Math.min(cpuPeriodUs, short)
  return { quota: Math.max(CPU_QUOTA_US_MIN, Math.round(cores * period)), period }
}

export function textIn(folder: string, file: string): string {
  return readText(path.join(folder, file))
}

export function numberIn(folder: string, file: string): number {
  return Number(textIn(folder, file))
}

export function groupsIn(folder: string): readonly string[] {
  return withReservedFd(() => readdirSync(folder, { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}

/** Id of a wall, as a warden makes it. */
const WALL = /^w[0-9a-f]{16}$/

/**
 * Names of empty groups of walls that are older than `olderThanMs`. Their age is the mtime of the folder, which is later
 * than now after the clock was set back.
 */
export function forgottenIn(folder: string, olderThanMs: number): readonly string[] {
  const now = Date.now()
  return groupsIn(folder).filter((name) => {
    const group = path.join(folder, name)
    const made = WALL.test(name) ? statSync(group, { throwIfNoEntry: false })?.mtimeMs : undefined
    return (
      made !== undefined &&
      Math.abs(now - made) >= olderThanMs &&
      processesBelow(group).length === 0
    )
  })
}

/** Value of a flat keyed file, as in `oom_kill 3`; 0 if the key is missing. */
export function countIn(folder: string, file: string, name: string): number {
  return countOf(textIn(folder, file), name)
}

export function countOf(text: string, name: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? 0)
}

/** `pids.peak` is of Linux 6.1. */
export function taskCounts(folder: string): TaskCounts {
  return {
    now: numberIn(folder, 'pids.current'),
    peak: attempt(() => numberIn(folder, 'pids.peak')) ?? 0,
    refused: attempt(() => countIn(folder, 'pids.events', 'max')) ?? 0,
  }
}

/** Charged bytes without page cache that the kernel can drop. */
export function heldBytes(
  files: OpenFileCache,
  folder: string,
  names: { readonly all: string; readonly files: string },
): number {
  const text = valueIn(files, folder, 'memory.stat') ?? ''
  // tmpfs (scratch) is charged as file memory too, and cannot be dropped.
  const forgettable = countOf(text, names.files) - countOf(text, 'shmem')
  return Math.max(0, Number(files.read(folder, names.all)) - Math.max(0, forgettable))
}

export function ownBytes(
  files: OpenFileCache,
  folder: string,
  names: { readonly own: string; readonly shared: string },
): { readonly own: number; readonly shared: number } {
  const text = files.read(folder, 'memory.stat')
  return { own: countOf(text, names.own), shared: countOf(text, names.shared) }
}

/** Lines of /proc/PID/cgroup, one for each hierarchy: `4:memory:/mayfly/w1`, or `0::/mayfly/w1`. */
export function groupLinesOf(pid: number): readonly string[] {
  return (tryReadText(`/proc/${pid}/cgroup`) ?? '').split('\n')
}

/** True if a line puts the process into Mayfly's group of this name; `controller` is empty for cgroup v2. */
export function isIn(lines: readonly string[], controller: string, name: string): boolean {
  return placeIn(lines, controller)?.endsWith(`/${groupsFolder}/${name}`) === true
}

/** Whether the process is in the root group of this controller. */
export function isInNone(lines: readonly string[], controller: string): boolean {
  return placeIn(lines, controller) === '/'
}

function placeIn(lines: readonly string[], controller: string): string | undefined {
  for (const line of lines) {
    const [, controllers, place] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers?.split(',').includes(controller)) return place
  }
  return undefined
}

/**
 * Pids in `cgroup.procs`. Version 2 prints 0 for a process that is reaped during the read, or that is outside of this PID
 * namespace; as a target of a signal or of a limit, 0 would be this process and its group.
 */
export function processesIn(folder: string): readonly number[] {
  const text = tryReadText(path.join(folder, 'cgroup.procs')) ?? ''
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0)
}

/** Members of a group and of its descendants. */
export function processesBelow(folder: string): readonly number[] {
  return [folder, ...belowOf(folder)].flatMap(processesIn)
}

/** Removes a group and its descendants, innermost first. Returns whether nothing is left. */
export function removeBelow(folder: string): boolean {
  return [...belowOf(folder).toReversed(), folder].map(removeFolder).every(Boolean)
}

function belowOf(folder: string): readonly string[] {
  return (attempt(() => groupsIn(folder)) ?? []).flatMap((name) => {
    const inner = path.join(folder, name)
    return [inner, ...belowOf(inner)]
  })
}

export function removeFolder(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}
