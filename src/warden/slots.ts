import { closeSync, mkdirSync, openSync } from 'node:fs'
import path from 'node:path'
import { tryLock } from '../os/libc.js'
import { processesOf } from '../os/proc.ts'
import { wallUids } from '../jail/facts.ts'

/**
 * Host uids for walls, a lock file each, shared by every Mayfly on the machine. A lock ends with its owner, so a
 * slot of a dead one can be taken; it is handed out only after a look found no process that still has the uid.
 */
export interface Slot {
  readonly uid: number
  release(): void
}

const FOLDER = '/run/lock/mayfly'
let next: number = wallUids.first

/** Undefined when none is free. */
export function takeSlot(folder: string = FOLDER): Slot | undefined {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const count = wallUids.last - wallUids.first + 1
  for (let tried = 0; tried < count; tried++) {
    const uid = next
    next = next === wallUids.last ? wallUids.first : next + 1
    const slot = tryTake(folder, uid)
    if (slot) return slot
  }
  return undefined
}

function tryTake(folder: string, uid: number): Slot | undefined {
  const fd = openSync(path.join(folder, `uid-${uid}`), 'a', 0o600)
  if (tryLock(fd) && processesOf(uid).length === 0) return { uid, release: () => closeSync(fd) }
  closeSync(fd)
  return undefined
}
