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
import { readText, withReservedFd } from './read.ts'

/** The files of control groups, alike in both versions. */

/** Below each controller's root, or the one root there is. */
export const groupsFolder = 'mayfly'
/** Kernel default of the CFS period, and the longest that is set. */
export const cpuPeriodUs = 100_000
const CPU_PERIOD_US_MIN = 10_000
/** Less than this of a period is refused by the kernel. */
const CPU_QUOTA_US_MIN = 1_000
/** Quota of a small limit in one go: a short burst crowds out no other wall for long. */
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
    // Not every kernel has every file; a group that is gone needs none.
  }
}

/** The kernel rounds down to pages; anything above what was asked is a limit that does not hold. */
export function putBack(folder: string, file: string, value: number): void {
  const holds = Number(exchange(folder, file, String(value)))
  if (!(holds <= value)) throw new Error(`${file} is ${holds} after writing ${value}`)
}

/** Writes a file whose text reads back in another form. */
export function putText(folder: string, file: string, value: string, holds: RegExp): void {
  const text = exchange(folder, file, value)
  if (!holds.test(text)) throw new Error(`${file} is "${text.trim()}" after writing "${value}"`)
}

/** Writes a value and reads what holds then, by one descriptor: every job waits for this. */
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

/** CPU weight of a spare in cores: below every wall that has a job. */
export const weightOfSpares = 0.25

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
 * Weight of all walls together, against whatever else runs on the machine. It is raised while one dies: otherwise CPU load
 * beside Mayfly doubles the time that a kill takes (20 ms on two cores for 10 ms of work). It is not raised where another wall
 * has a job: that one would outrank the server, the warden and their clients (beside six programs that loop, the p95 of a
 * job of 20 ms rose to 150 ms), and the dying wall has the highest weight among walls anyway.
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

  /** The one of a folder: engines in one process share it. */
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

/** Less than this of a core is had when nobody else wants it, and given up at once when somebody does. */
const IDLE_BELOW = 0.1

/**
 * Part of its weight that a group keeps which stepped back. Idle-class would be quicker for others, but one of its tasks that is
 * preempted inside fork(2) holds cgroup_threadgroup_rwsem until it has its next turn, and every fork on the machine waits.
 */
const PART_BEHIND = 0.02

interface CpuWeightParts {
  readonly name: string
  /** Undefined without a controller. */
  readonly folder: string | undefined
  readonly file: string
  /** The kernel's default weight. */
  readonly usual: number
  readonly all: WeightOfAll
}

/** CPU weight of one group: it follows from its limit and its rank. */
export class CpuWeight {
  readonly #to: CpuWeightParts
  #cores = Infinity
  #isBehind = false

  constructor(to: CpuWeightParts) {
    this.#to = to
  }

  limit(cores: number): void {
    this.#cores = cores
    this.#put()
  }

  rank({ hasJob, isBehind }: { readonly hasJob: boolean; readonly isBehind: boolean }): void {
    const wasBehind = this.#isBehind
    this.#isBehind = isBehind
    if (isBehind !== wasBehind) this.#put()
    this.#to.all.setJob(this.#to.name, hasJob)
  }

  /** The kernel takes its weight from a group that is idle-class. */
  #put(): void {
    const { folder, file, usual } = this.#to
    if (folder === undefined) return
    const isIdle = this.#cores < IDLE_BELOW
    if (isIdle && existsSync(path.join(folder, 'cpu.idle'))) return tryPut(folder, 'cpu.idle', 1)
    tryPut(folder, 'cpu.idle', 0)
    const part = this.#isBehind ? PART_BEHIND : 1
    tryPut(folder, file, Math.max(WEIGHT_MIN, Math.round(weightFor(this.#cores, usual) * part)))
  }
}

/**
 * Microseconds of processor time in each so many. All that is unused of a period may be used at its beginning: twenty
 * walls with a twentieth of a core each would take both of two cores for half of a long one. A whole core and more
 * keeps the long one, for programs of many threads use it in bursts.
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

/** As a warden names its walls. */
const WALL = /^w[0-9a-f]{16}$/

/** Names of walls' groups in which nobody is and nothing was for so long; the kernel tells no more than their age. */
export function forgottenIn(folder: string, olderThanMs: number): readonly string[] {
  const before = Date.now() - olderThanMs
  return groupsIn(folder).filter((name) => {
    const group = path.join(folder, name)
    const made = WALL.test(name) ? statSync(group, { throwIfNoEntry: false })?.mtimeMs : undefined
    return made !== undefined && made <= before && processesBelow(group).length === 0
  })
}

/** A number beside its name, as in `oom_kill 3`; 0 where it is not. */
export function countIn(folder: string, file: string, name: string): number {
  return countOf(textIn(folder, file), name)
}

function countOf(text: string, name: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? 0)
}

function tryText(folder: string, file: string): string {
  try {
    return textIn(folder, file)
  } catch {
    return ''
  }
}

/** Bytes that are there to stay: files that were read and could be read again are not. */
export function heldBytes(
  folder: string,
  names: { readonly all: string; readonly files: string },
): number {
  const text = tryText(folder, 'memory.stat')
  // Scratch counts among the files, and can't be read again.
  const forgettable = countOf(text, names.files) - countOf(text, 'shmem')
  return Math.max(0, numberIn(folder, names.all) - Math.max(0, forgettable))
}

export function ownBytes(
  folder: string,
  names: { readonly own: string; readonly shared: string },
): { readonly own: number; readonly shared: number } {
  const text = textIn(folder, 'memory.stat')
  return { own: countOf(text, names.own), shared: countOf(text, names.shared) }
}

/** In which groups a process is, a line for each tree: `4:memory:/mayfly/w1`, or `0::/mayfly/w1`. */
export function groupLinesOf(pid: number): readonly string[] {
  return tryText(`/proc/${pid}`, 'cgroup').split('\n')
}

/** Whether one of those lines has this controller (none by name in version 2) in our group of this name. */
export function isIn(lines: readonly string[], controller: string, name: string): boolean {
  return placeIn(lines, controller)?.endsWith(`/${groupsFolder}/${name}`) === true
}

/** Whether nobody has put it into a group of this controller. */
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

export function processesIn(folder: string): readonly number[] {
  try {
    return textIn(folder, 'cgroup.procs').split('\n').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** Members of a group and of all below it. */
export function processesBelow(folder: string): readonly number[] {
  return [folder, ...belowOf(folder)].flatMap(processesIn)
}

/** A group with all below it, the innermost first; whether nothing is left. */
export function removeBelow(folder: string): boolean {
  return [...belowOf(folder).toReversed(), folder].map(removeFolder).every(Boolean)
}

function belowOf(folder: string): readonly string[] {
  try {
    return groupsIn(folder).flatMap((name) => {
      const inner = path.join(folder, name)
      return [inner, ...belowOf(inner)]
    })
  } catch {
    return []
  }
}

export function removeFolder(folder: string): boolean {
  try {
    rmdirSync(folder)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}
