import { closeSync, lstatSync, mkdirSync, openSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { tryLock, userHasProcesses } from '../os/libc.js'
import { processesOf } from '../os/proc.ts'
import { wallUids } from '../contract/uids.ts'

/**
 * Host uids for walls, a lock file each, shared by every Mayfly on the machine. A lock ends with its owner, so the slot of
 * a dead one can be taken; it is handed out only after a check that no process has the uid.
 */
export interface Slot {
  readonly uid: number
  release(): void
}

/** Below /run, which only root may write to: in /run/lock any user could plant symlinks or hold the locks. */
const FOLDER = '/run/mayfly'
let next: number = wallUids.first

/** Undefined when none is free. */
export function takeSlot(folder: string = FOLDER): Slot | undefined {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  assertOurs(folder)
  return firstThat(folder, isUnused) ?? firstThat(folder, isFree)
}

/** Takes a slot. As root a wall without a uid of its own would run as root, so it throws MayflyError OVERLOADED instead. */
export function freeSlot(): Slot {
  const slot = takeSlot()
  if (slot) return slot
  throw new MayflyError('OVERLOADED', 'Cannot start a wall: every uid for walls is taken', {
    hint: 'Other Mayflies on this machine hold them; end one',
  })
}

function firstThat(folder: string, may: (uid: number) => boolean): Slot | undefined {
  const count = wallUids.last - wallUids.first + 1
  for (let tried = 0; tried < count; tried++) {
    const uid = next
    next = next === wallUids.last ? wallUids.first : next + 1
    const slot = tryTake(folder, uid, may)
    if (slot) return slot
  }
  return undefined
}

function tryTake(folder: string, uid: number, may: (uid: number) => boolean): Slot | undefined {
  const fd = openSync(path.join(folder, `uid-${uid}`), 'a', 0o600)
  if (tryLock(fd) && may(uid)) return { uid, release: () => closeSync(fd) }
  closeSync(fd)
  return undefined
}

const isUnused = (uid: number) => !userHasProcesses(uid)

/** Whether no process but zombies has the uid; only telling zombies apart takes a scan of /proc. */
function isFree(uid: number): boolean {
  return isUnused(uid) || processesOf(uid).length === 0
}

function assertOurs(folder: string): void {
  const { uid, mode } = lstatSync(folder)
  if (uid === process.getuid?.() && (mode & 0o170777) === 0o040700) return
  throw new MayflyError('STATE', `Cannot use "${folder}": it is not ours alone`, {
    hint: 'Remove it; Mayfly makes it again',
  })
}
