import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { openCgroups } from '../os/cgroup.ts'
import { bootId, isAlive, processFacts } from '../os/proc.ts'

/**
 * What is alive, on disk: a file a wall, with who owns it. If its owner dies, whoever starts next on this state
 * folder ends what is left of the wall. Pids are named with their start time, so that a number used again by
 * somebody else is never touched.
 */
export interface Lease {
  readonly format: 1
  readonly wall: string
  readonly boot: string
  readonly owner: { readonly pid: number; readonly startTime: number }
  readonly processes: readonly { readonly pid: number; readonly startTime: number }[]
  readonly cgroup: string | null
}

export interface Leases {
  write(wall: string, pids: readonly number[], cgroup: string | null): void
  remove(wall: string): void
  /** Ends what dead owners left; how many walls that were. */
  sweep(): number
}

export function openLeases(folder: string): Leases {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const owner = named(process.pid)
  const boot = bootId()
  const file = (wall: string) => path.join(folder, `${wall}.json`)
  return {
    write(wall, pids, cgroup) {
      const lease: Lease = { format: 1, wall, boot, owner, processes: pids.map(named), cgroup }
      writeFileSync(`${file(wall)}.new`, JSON.stringify(lease), { mode: 0o600 })
      renameSync(`${file(wall)}.new`, file(wall))
    },
    remove: (wall) => rmSync(file(wall), { force: true }),
    sweep() {
      const dead = readLeases(folder).filter((lease) => isDead(lease, boot))
      for (const lease of dead) {
        if (lease.boot === boot) endRemains(lease)
        rmSync(file(lease.wall), { force: true })
      }
      return dead.length
    },
  }
}

function named(pid: number) {
  return { pid, startTime: processFacts(pid)?.startTime ?? 0 }
}

function isDead(lease: Lease, boot: string): boolean {
  return lease.boot !== boot || !isAlive(lease.owner.pid, lease.owner.startTime)
}

function endRemains(lease: Lease): void {
  for (const { pid, startTime } of lease.processes) {
    if (isAlive(pid, startTime)) process.kill(pid, 'SIGKILL')
  }
  if (lease.cgroup) openCgroups()?.remove(lease.cgroup)
}

/** A file that cannot be read is left where it is: whoever writes it renames it into place whole. */
function readLeases(folder: string): readonly Lease[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      try {
        const lease = JSON.parse(readFileSync(path.join(folder, name), 'utf8')) as Lease
        return lease.format === 1 ? [lease] : []
      } catch {
        return []
      }
    })
}
