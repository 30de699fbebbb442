import {
  closeSync,
  existsSync,
  lstatSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import { MayflyError, messageOf } from '../contract/error.ts'
import { openCgroups } from '../os/cgroup.ts'
import { bootId, isAlive, processFacts } from '../os/proc.ts'
import { sweepScratch } from './scratch.ts'
import { makeFolder } from '../lib/make-folder.ts'
import { parseJson } from '../lib/parse-json.ts'

/**
 * What is alive, on disk: a file a wall, with who owns it. If its owner dies, whoever starts next on this state
 * folder ends what is left of the wall. Pids are named with their start time, so that a number used again by
 * somebody else is never touched.
 */
export interface Lease {
  readonly format: 1
  readonly wall: string
  readonly boot: string
  readonly owner: Named
  readonly processes: readonly Named[]
  readonly cgroup: string | null
}

/** A process for ever, also when its number is used again. */
export interface Named {
  readonly pid: number
  readonly startTime: number
}

const SWEEP_MS_MAX = 1500
const SWEEP_POLL_MS = 5
const doze = new Int32Array(new SharedArrayBuffer(4))

export interface Leases {
  write(wall: string, processes: readonly Named[], cgroup: string | null): void
  remove(wall: string): void
  /** Ends what dead owners left; how many walls that were. */
  sweep(): number
}

export function openLeases(folder: string): Leases {
  claimFolder(folder)
  const owner = named(process.pid)
  const boot = bootId()
  const file = (wall: string) => path.join(folder, `${wall}.json`)
  const bytes = new Map<string, number>()
  return {
    write(wall, processes, cgroup) {
      const lease: Lease = { format: 1, wall, boot, owner, processes, cgroup }
      const text = JSON.stringify(lease).padEnd(bytes.get(wall) ?? 0)
      const isThere = bytes.has(wall) && existsSync(file(wall))
      bytes.set(wall, text.length)
      if (isThere) return writeOver(file(wall), text)
      const draft = path.join(folder, `${wall}.${process.pid}.new`)
      writeFileSync(draft, text, { mode: 0o600 })
      renameSync(draft, file(wall))
    },
    remove(wall) {
      bytes.delete(wall)
      rmSync(file(wall), { force: true })
    },
    sweep() {
      const dead = readLeases(folder).filter((lease) => isDead(lease, boot))
      const here = dead.filter((lease) => lease.boot === boot)
      for (const lease of here) killRemains(lease)
      const until = performance.now() + SWEEP_MS_MAX
      for (const lease of here) clearRemains(lease, until)
      for (const { wall } of dead) sweepScratch(wall)
      for (const { wall } of dead) rmSync(file(wall), { force: true })
      removeDrafts(folder)
      return dead.length
    },
  }
}

/** In one write, of no less than was there: whoever is ended in between leaves the one or the other. */
function writeOver(file: string, text: string): void {
  const fd = openSync(file, 'r+')
  try {
    writeSync(fd, text, 0)
  } finally {
    closeSync(fd)
  }
}

/** What a lease names is killed: nobody else may have put one there. */
function claimFolder(folder: string): void {
  try {
    makeFolder(folder, 0o700)
  } catch (cause) {
    throw new MayflyError('STATE', `Cannot make "${folder}": ${messageOf(cause)}`, {
      hint: 'Name a folder of your own by "--state" or "MAYFLY_STATE"',
      cause,
    })
  }
  const facts = lstatSync(folder)
  if (facts.isDirectory() && (process.getuid?.() ?? facts.uid) === facts.uid) return
  throw new MayflyError('STATE', `Cannot use "${folder}": it belongs to somebody else`)
}

export function named(pid: number): Named {
  return { pid, startTime: processFacts(pid)?.startTime ?? 0 }
}

function isDead(lease: Lease, boot: string): boolean {
  return lease.boot !== boot || !isAlive(lease.owner.pid, lease.owner.startTime)
}

function killRemains(lease: Lease): void {
  for (const { pid, startTime } of lease.processes) {
    if (isAlive(pid, startTime)) killQuietly(pid)
  }
  // Its first process takes the rest of its namespace along; a wall without one has what its group names.
  if (lease.cgroup) for (const pid of openCgroups()?.processes(lease.cgroup) ?? []) killQuietly(pid)
}

/** Waits until the processes are gone, for a group can only be removed then. Nothing else runs yet: it may block. */
function clearRemains(lease: Lease, until: number): void {
  const cgroups = lease.cgroup ? openCgroups() : undefined
  const isCleared = () =>
    !lease.processes.some(({ pid, startTime }) => isAlive(pid, startTime)) &&
    (!lease.cgroup || (cgroups?.remove(lease.cgroup) ?? true))
  while (!isCleared() && performance.now() < until) Atomics.wait(doze, 0, 0, SWEEP_POLL_MS)
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // Gone in between.
  }
}

/** What somebody was writing when it died. */
function removeDrafts(folder: string): void {
  for (const name of readdirSync(folder)) {
    const writer = /\.(\d+)\.new$/.exec(name)?.[1]
    if (writer && !isAlive(Number(writer))) rmSync(path.join(folder, name), { force: true })
  }
}

/** A file that cannot be read is left where it is: whoever writes it renames it into place whole. */
function readLeases(folder: string): readonly Lease[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      try {
        const lease = parseJson(readFileSync(path.join(folder, name), 'utf8')) as Lease
        return lease.format === 1 && name === `${lease.wall}.json` ? [lease] : []
      } catch {
        return []
      }
    })
}
