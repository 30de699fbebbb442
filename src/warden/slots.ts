import { closeSync, lstatSync, mkdirSync, openSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { tryLock, userHasProcesses } from '../os/libc.js'
import { processesOf } from '../os/proc.ts'
import { wallUids } from '../contract/uids.ts'

/**
 * Host uids for walls, each with a lock file, shared by every Mayfly on the machine. The kernel releases a lock with
 * its owner, so a slot of a dead owner can be taken; before that, a check makes sure that no process has the uid.
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
  let isOpen = true
  // A second release would close whatever has the number by then.
  const release = () => {
    if (isOpen) closeSync(fd)
    isOpen = false
  }
  if (tryLock(fd) && may(uid)) return { uid, release }
  release()
  return undefined
}

const isUnused = (uid: number) => !userHasProcesses(uid)

/** True if no process but zombies has the uid; /proc is scanned only to find out whether processes are zombies. */
function isFree(uid: number): boolean {
  return isUnused(uid) || processesOf(uid).length === 0
}

function assertOurs(folder: string): void {
  const { uid, mode } = lstatSync(folder)
  if (uid === process.getuid?.() && (mode & 0o170777) === 0o040700) return
  throw new MayflyError('STATE', `Cannot use "${folder}": other users can write to it`, {
    hint: 'Remove it; Mayfly makes it again',
  })
}
