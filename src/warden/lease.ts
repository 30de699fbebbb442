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
import type { DeadEnclosure, EngineName, Remains } from '../contract/engine.ts'
import { MayflyError } from '../contract/error.ts'
import { attempt } from '../lib/attempt.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import { makeStateFolder } from './make-state-folder.ts'
import { readBootId, identify, isAlive, isExiting, type ProcessIdentity } from '../os/proc.ts'

/**
 * Leases: a file for each live enclosure. If its warden dies, the next one that starts on this state folder hands the
 * lease to the engine that wrote it, which kills and removes the remains. `owner` is the warden, with its start time
 * because pids are reused; all other fields are the engine's own data (`Remains`).
 */
export interface Lease {
  readonly format: 1
  readonly wall: string
  readonly boot: string
  readonly owner: ProcessIdentity
  /** Omitted for `processes`. */
  readonly engine?: EngineName
}

export interface Leases {
  write(wall: string, engine: EngineName, remains: Remains): void
  remove(wall: string): void
  /** Calls `end` for each engine with the enclosures of dead owners; returns their number. */
  sweep(end: (engine: EngineName, dead: readonly DeadEnclosure[]) => void): number
}

export function openLeases(folder: string, state = folder): Leases {
  claimFolder(folder, state)
  const owner = identify(process.pid)
  const boot = readBootId()
  const file = (wall: string) => path.join(folder, `${wall}.json`)
  const bytes = new Map<string, number>()
  return {
    write(wall, engine, remains) {
      const lease: Lease = {
        format: 1,
        wall,
        boot,
        owner,
        ...(engine !== 'processes' && { engine }),
      }
      const text = JSON.stringify({ ...lease, ...remains, ...lease }).padEnd(bytes.get(wall) ?? 0)
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
    sweep(end) {
      const dead = readLeases(folder).filter((lease) => isDead(lease, boot))
      const byEngine = Map.groupBy(dead, ({ engine = 'processes' }) => engine)
      for (const [engine, leases] of byEngine)
        end(
          engine,
          leases.map((lease) => remainsOf(lease, boot)),
        )
      for (const { wall } of dead) rmSync(file(wall), { force: true })
      removeDrafts(folder)
      return dead.length
    },
  }
}

function remainsOf(lease: Lease, boot: string): DeadEnclosure {
  const { format: _, wall: id, boot: since, owner: __, engine: ___, ...remains } = lease
  return { id, isThisBoot: since === boot, remains }
}

/** Overwrites with one write(2) of no fewer bytes than before, so that a crash leaves either the old or the new text. */
function writeOver(file: string, text: string): void {
  const fd = openSync(file, 'r+')
  try {
    writeSync(fd, text, 0)
  } finally {
    closeSync(fd)
  }
}

/** The folder must belong to this user: processes that a lease names are killed. */
function claimFolder(folder: string, state: string): void {
  makeStateFolder(state, () => folder)
  const facts = lstatSync(folder)
  if (facts.isDirectory() && (process.getuid?.() ?? facts.uid) === facts.uid) return
  throw new MayflyError('STATE', `Cannot use "${folder}": it belongs to another user`)
}

/** An owner that was killed a moment ago may have threads that are still exiting. */
function isDead(lease: Lease, boot: string): boolean {
  return lease.boot !== boot || isExiting(lease.owner.pid, lease.owner.startTime)
}

/** Removes temporary files of writers that died. */
function removeDrafts(folder: string): void {
  for (const name of readdirSync(folder)) {
    const writer = /\.(\d+)\.new$/.exec(name)?.[1]
    if (writer && !isAlive(Number(writer))) rmSync(path.join(folder, name), { force: true })
  }
}

/**
 * Reads all leases. An unreadable file is left alone: writers rename complete files into place, so it is not a lease.
 */
function readLeases(folder: string): readonly Lease[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .flatMap((name) => {
      const text = attempt(() => readFileSync(path.join(folder, name), 'utf8'))
      const lease = tryParseJson(text ?? '') as Lease | null | undefined
      return lease?.format === 1 && name === `${lease.wall}.json` ? [lease] : []
    })
}
