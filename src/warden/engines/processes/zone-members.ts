import type { Cgroup } from '../../../os/cgroup-interface.ts'
import { groupLinesOf } from '../../../os/cgroup-files.ts'
import { signalAll, stopAndKill } from '../../../os/signal.ts'
import { zoneMarkOf, setMark, type Mark } from './zone-marks.ts'
import type { ZoneBounds } from '../../../contract/zone-rules.ts'

/** Membership of a process, read once for all zones: its cgroup lines, or its mark on a machine without cgroups. */
export interface ZoneLocation {
  readonly lines: readonly string[]
  readonly mark: Mark | undefined
}

export function locate(pid: number, hasGroups: boolean): ZoneLocation {
  if (hasGroups) return { lines: groupLinesOf(pid), mark: undefined }
  return { lines: [], mark: zoneMarkOf(pid) }
}

export type ZoneLocations = ReadonlyMap<number, ZoneLocation>

/** Empty where cgroups list their members. */
export function locateAll(pids: readonly number[], hasGroups: boolean): ZoneLocations {
  return new Map(hasGroups ? [] : pids.map((pid) => [pid, locate(pid, hasGroups)]))
}

/** Members of a zone, and the limits that the kernel enforces on them. */
export interface ZoneMembers {
  readonly group: Cgroup | undefined
  readonly mark: Mark | undefined
  /** Adds a process, and with it all its future children. Throws if it is not a member afterwards. */
  add(pid: number): void
  /**
   * Sets limits of the cgroup; throws if the kernel refuses one. Bounds without a controller are polled by
   * `program-zones.ts`.
   */
  limit(to: ZoneBounds): void
  /** True if a process found there is in this zone or in a zone within it. */
  holds(at: ZoneLocation): boolean
  /** Pids in the zone and in zones within it. */
  among(all: ZoneLocations): readonly number[]
  memoryKills(): number
  /** True if its own memory limit was reached, and not one of an enclosing cgroup. */
  hasBeenFull(): boolean
  /** Kills the members; a process that is being forked is found by the next call. */
  kill(all: () => ZoneLocations): void
  /** True once it is removed. */
  remove(): boolean
}

/** A cgroup within that of the wall, or of the enclosing zone. */
export function groupMembers(group: Cgroup): ZoneMembers {
  return {
    group,
    mark: undefined,
    add: (pid) => group.add(pid),
    limit({ memory, cpu, processes }) {
      const has = (one: 'cpu' | 'pids') => group.controllers.includes(one)
      group.limit({
        ...(memory !== undefined && { memory: pageDown(memory) }),
        ...(cpu !== undefined && has('cpu') && { cpu }),
        ...(processes !== undefined && has('pids') && { pids: processes }),
      })
    },
    holds: ({ lines }) => lines.some((line) => `${line}/`.includes(`/${group.name}/`)),
    among: () => group.processes(),
    memoryKills: () => group.memoryKills(),
    hasBeenFull: () => group.hasBeenFull(),
    kill() {
      // Forbids forks, so that the list of processes to kill is complete.
      if (group.controllers.includes('pids')) group.limit({ pids: 0 })
      group.liftCpuQuota()
      signalAll(group.processes(), 'SIGKILL')
    },
    remove: () => group.remove(),
  }
}

/** Members of a zone without a cgroup: processes that have its mark, or one within it. */
export function markedMembers(
  mark: Mark,
  isWithin: (found: Mark) => boolean,
  uid: number | undefined,
): ZoneMembers {
  const holds = ({ mark }: ZoneLocation) => mark !== undefined && isWithin(mark)
  const among = (all: ZoneLocations) => [...all].flatMap(([pid, at]) => (holds(at) ? [pid] : []))
  return {
    group: undefined,
    mark,
    add: (pid) => setMark(pid, mark, uid),
    limit: () => undefined,
    holds,
    among,
    memoryKills: () => 0,
    hasBeenFull: () => false,
    kill: (all) => stopAndKill(() => among(all())),
    remove: () => true,
  }
}

function pageDown(bytes: number): number {
  return Math.floor(bytes / 4096) * 4096
}
