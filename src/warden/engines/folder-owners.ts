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
import { tryLock } from '../../os/libc.js'

/**
 * Owners of the folders of walls: tells every Mayfly of this user which warden a folder belongs to.
 *
 * Problem: a lease in the state folder tells the next warden what a killed one left. A state folder that is deleted, as
 * temporary ones are, takes its leases with it, and the folders of its walls stay in /tmp for ever.
 *
 * Mechanism: beside the leases a warden has a folder in one place for all wardens of its user: a lock file, which it holds
 * for its life, and an empty file for each folder of a wall. The kernel gives the lock free when the warden dies, also where
 * its pid means nothing, as to another container. A later warden takes such a lock and removes what the names say.
 *
 * Not handled: folders of a version before this one, and those of other users, which nobody else may remove.
 */
export class FolderOwners {
  readonly #base: string
  #own: { readonly folder: string; readonly lock: number } | undefined
  readonly #ids = new Set<string>()

  constructor(base: string = baseOf(process.getuid?.() ?? 0)) {
    this.#base = base
  }

  /** Before the folder is made. Does nothing where the place is not this user's alone: no sweep is better than a wrong one. */
  note(id: string): void {
    this.#own ??= this.#open()
    if (!this.#own) return
    try {
      writeFileSync(path.join(this.#own.folder, id), '', { mode: 0o600 })
      this.#ids.add(id)
    } catch {
      // Disk full, or the place emptied by somebody: the lease still knows the folder.
    }
  }

  /** Once the folder is gone. */
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

/** Below /run only root may write; in /tmp another user can have made the folder, which `isOursAlone` sees. */
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

/** Undefined where another process holds it, and where there is none: its maker has not locked it yet. */
function lockIn(folder: string, flags: 'r+' | 'wx'): number | undefined {
  let fd: number
  try {
    fd = openSync(path.join(folder, LOCK), flags, 0o600)
  } catch {
    return undefined
  }
  try {
    if (tryLock(fd)) return fd
  } catch {
    // A file system without locks.
  }
  closeSync(fd)
  return undefined
}
