import { existsSync, readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { leaseFolder } from '../../../src/lib/state-folder.ts'
import { allPids } from '../../../src/os/proc.ts'
import { tryReadText } from '../../../src/os/read.ts'
import { wallFolder } from '../../../src/warden/engines/wall-folder.ts'
import { descendantsOf, isRunning, kindsOpen } from '../../conformance/remains.ts'
import { until } from '../../conformance/stand.ts'
import { wallGroups } from '../../walls/groups.ts'

/** Polling interval: a boot takes longer, so every lease is seen. */
const POLL_MS = 50
const GONE_MS_MAX = 15_000

/** Leftover resources of closed walls on this machine. */
export interface LeftBehind {
  readonly processes: number
  readonly leases: readonly string[]
  readonly folders: readonly string[]
  readonly cgroups: readonly string[]
  readonly sockets: number
}

/**
 * Counts the leftovers of walls: create it before the warden starts, and read `left` after its end. Walls are known by their
 * leases, which are polled; folders and cgroups have the names of their walls. Not counted: mounts of other namespaces, which end
 * with the processes in them.
 */
export class LeftoverCounter {
  readonly #leases: string
  readonly #walls = new Set<string>()
  readonly #before = new Set(descendantsOf(process.pid))
  readonly #socketsBefore = kindsOpen()['socket'] ?? 0
  readonly #timer: NodeJS.Timeout

  constructor(state: string) {
    this.#leases = leaseFolder(state)
    this.#timer = setInterval(() => this.#poll(), POLL_MS).unref()
  }

  /** Number of walls so far. */
  get walls(): number {
    return this.#walls.size
  }

  /** Leftovers, once there are none or after 15 s. The state folder must still be there. */
  async left(): Promise<LeftBehind> {
    clearInterval(this.#timer)
    const isClean = () => sizeOf(this.held()) === 0
    await until(isClean, 'the end of all walls', GONE_MS_MAX).catch(() => undefined)
    return this.held()
  }

  #poll(): readonly string[] {
    const leases = existsSync(this.#leases) ? readdirSync(this.#leases) : []
    for (const lease of leases) this.#walls.add(basename(lease).split('.')[0]!)
    return leases
  }

  /** Resources of the walls that live, of those that `left` counts. */
  held(): LeftBehind {
    const leases = this.#poll()
    const names = [...this.#walls]
    return {
      processes: this.#processes(names).length,
      leases,
      folders: names.map(wallFolder).filter((folder) => existsSync(folder)),
      cgroups: wallGroups().filter((group) => this.#walls.has(basename(group))),
      sockets: Math.max(0, (kindsOpen()['socket'] ?? 0) - this.#socketsBefore),
    }
  }

  /** New processes below this one, and any that name a wall in their command line: an orphan is a child of init. */
  #processes(names: readonly string[]): readonly number[] {
    const below = descendantsOf(process.pid).filter((pid) => !this.#before.has(pid))
    return [...new Set([...below, ...processesOf(names)])].filter(isRunning)
  }
}

/** Names of the walls that have a lease, process, folder or control group on this machine, of those given. */
export function wallsLeft(state: string, names: readonly string[]): readonly string[] {
  const leases = new Set(leasedWalls(state))
  const groups = new Set(wallGroups().map((group) => basename(group)))
  return names.filter(
    (name) =>
      leases.has(name) ||
      groups.has(name) ||
      existsSync(wallFolder(name)) ||
      processesOf([name]).some(isRunning),
  )
}

/** Names of the walls with a lease in this state folder. */
export function leasedWalls(state: string): readonly string[] {
  return readdirSync(leaseFolder(state)).map((lease) => basename(lease).split('.')[0]!)
}

function processesOf(names: readonly string[]): readonly number[] {
  return allPids().filter((pid) => {
    const words = tryReadText(`/proc/${pid}/cmdline`) ?? ''
    return names.some((name) => words.includes(name))
  })
}

/** Number of leftovers in all. */
export function sizeOf({ processes, leases, folders, cgroups, sockets }: LeftBehind): number {
  return processes + sockets + leases.length + folders.length + cgroups.length
}
