import {
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { randomBytes } from 'node:crypto'
import { attempt } from '../../lib/attempt.ts'
import { tryLock } from '../../os/libc.js'

/**
 * Register of the owners of walls' folders, shared by every Mayfly of this user.
 *
 * Problem: leases in the state folder list what a killed warden left. If the state folder itself is deleted, as
 * temporary ones are, its leases are lost, and the folders of its walls leak in /tmp.
 *
 * Mechanism: in addition to leases, each warden has a folder below a path that all wardens of its user share. It has a
 * lock file, locked for the life of the warden, and an empty file for each folder of a wall. The kernel releases the
 * lock when the warden dies, which also works across PID namespaces of containers. A later warden takes such a lock and
 * removes the named folders.
 *
 * Not handled: folders of earlier versions, and those of other users, which this user may not remove.
 */
export class FolderOwners {
  readonly #base: string
  #own: { readonly folder: string; readonly lock: number } | undefined
  readonly #ids = new Set<string>()

  constructor(base: string = baseOf(process.getuid?.() ?? 0)) {
    this.#base = base
  }

  /**
   * Called before the folder is created. No effect if other users may write to the register: no sweep is better than a
   * wrong one.
   */
  note(id: string): void {
    this.#own ??= this.#open()
    if (!this.#own) return
    try {
      writeFileSync(path.join(this.#own.folder, id), '', { mode: 0o600 })
      this.#ids.add(id)
    } catch {
      // The disk is full, or the register was deleted: the lease still names the folder.
    }
  }

  /** Called after the folder was removed. */
  forget(id: string): void {
    if (!this.#own || !this.#ids.delete(id)) return
    rmSync(path.join(this.#own.folder, id), { force: true })
    if (this.#ids.size > 0) return
    rmSync(this.#own.folder, { recursive: true, force: true })
    closeSync(this.#own.lock)
    this.#own = undefined
  }

  /** Calls `remove` with each folder of a dead warden; returns their number. */
  sweep(remove: (id: string) => void): number {
    if (!isOursAlone(this.#base)) return 0
    let swept = 0
    for (const name of readdirSync(this.#base)) {
      const folder = path.join(this.#base, name)
      const lock = folder === this.#own?.folder ? undefined : lockIn(folder, 'r+')
      if (lock === undefined) continue
      for (const id of readdirSync(folder).filter((one) => ID.test(one))) {
        remove(id)
        swept++
      }
      rmSync(folder, { recursive: true, force: true })
      closeSync(lock)
    }
    return swept
  }

  #open() {
    try {
      mkdirSync(this.#base, { recursive: true, mode: 0o700 })
      if (!isOursAlone(this.#base)) return undefined
      const folder = path.join(this.#base, randomBytes(8).toString('hex'))
      mkdirSync(folder, { mode: 0o700 })
      const lock = lockIn(folder, 'wx')
      return lock === undefined ? undefined : { folder, lock }
    } catch {
      return undefined
    }
  }
}

/** Register of this process. */
export const folderOwners = new FolderOwners()

const ID = /^[a-z][0-9a-f]{16}$/
const LOCK = 'lock'

/** Only root may write to /run; in /tmp another user can have created the folder, which `isOursAlone` detects. */
function baseOf(uid: number): string {
  return uid === 0 ? '/run/mayfly/folders' : `/tmp/mayfly-folders-${uid}`
}

function isOursAlone(folder: string): boolean {
  const facts = lstatSync(folder, { throwIfNoEntry: false })
  return (
    facts?.isDirectory() === true &&
    facts.uid === process.geteuid?.() &&
    (facts.mode & 0o7777) === 0o700
  )
}

/** Undefined if another process has the lock, or if there is no lock file: its creator has not made it yet. */
function lockIn(folder: string, flags: 'r+' | 'wx'): number | undefined {
  const fd = attempt(() => openSync(path.join(folder, LOCK), flags, 0o600))
  if (fd === undefined) return undefined
  // Fails on a file system without locks.
  if (attempt(() => tryLock(fd))) return fd
  closeSync(fd)
  return undefined
}
