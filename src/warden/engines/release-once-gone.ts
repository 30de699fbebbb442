import assert from 'node:assert/strict'
import { isWallUid } from '../../contract/uids.ts'
import { attempt } from '../../lib/attempt.ts'
import { userHasProcesses } from '../../os/libc.js'
import { livingOf, processesSince, type ProcessIdentity } from '../../os/proc.ts'
import { signalAll } from '../../os/signal.ts'
import type { Cgroup } from '../../os/cgroup-interface.ts'
import type { Slot } from '../slots.ts'
import { removeWallFolder } from './wall-folder.ts'

const KILL_MS_MAX = 2_000
/** Polling with back-off: many walls that end at once would slow each other down. */
const POLL_MS = { first: 2, factor: 1.2, most: 16 } as const
/** Delays of scans of /proc, which cost milliseconds: remaining processes of a wall nearly always end by themselves. */
const SCAN_MS = { first: 16, next: 60, inBackground: 1_000 } as const
/** A task in uninterruptible sleep survives SIGKILL: its uid is not reused until it is gone. */
const STUCK_POLL_MS = { first: 250, next: 500 } as const

/** Resources of a killed wall. */
export interface KilledWall {
  readonly id: string
  readonly slot: Slot | undefined
  readonly cgroup: Pick<Cgroup, 'remove' | 'processes'> | undefined
  readonly processes: readonly ProcessIdentity[]
}

export interface ReleaseParts {
  readonly releaseLease: (id: string) => void
  /** By default the folder of the wall. */
  readonly removeFolder?: () => Promise<void>
  /** Kills processes of the wall that are not in `processes`; true while there are any. */
  readonly hasMore?: () => boolean
  /** Called before each pause, to kill remaining processes; by default those of the cgroup. */
  readonly killRest?: () => void
}

/**
 * Releases cgroup, folder, uid and lease of a killed wall, in that order, each once nothing uses it. Resolves after 2 s
 * at most plus the removal of the folder. A uid or a cgroup that is in use by then is polled for in the background, and processes
 * that still have that uid are killed. The lease stays while a process is left or the cgroup is there, for the next sweep.
 */
export async function releaseOnceGone(
  { id, slot, cgroup, processes }: KilledWall,
  {
    releaseLease,
    removeFolder = () => removeWallFolder(id),
    hasMore = () => false,
    killRest = () => signalAll(cgroup?.processes() ?? [], 'SIGKILL'),
  }: ReleaseParts,
): Promise<void> {
  // Every process of this uid gets SIGKILL below.
  assert(!slot || isWallUid(slot.uid), `Uid ${slot?.uid} belongs to no wall`)
  const isLeft = () => livingOf(processes).length > 0 || hasMore()
  let isOver = false
  // Not called again after a success: removing a group takes up to six rmdir(2).
  const isHeld = () => !isOver && !(isOver = !isLeft() && cgroup?.remove() !== false)
  // Every process of the wall is in its cgroup, which is removed only once it is empty. Its uid may still be in use
  // then: a zombie whose parent was killed first keeps it until init reaps it, half a second on a busy machine, and a
  // scan of /proc to find out takes 5 to 12 ms.
  const isInGroup = cgroup !== undefined
  const hasOthers = watchOthers(slot, isInGroup ? SCAN_MS.inBackground : SCAN_MS.first)
  const isBusy = isInGroup ? isHeld : () => hasOthers() || isHeld()
  const until = performance.now() + KILL_MS_MAX
  for (let ms: number = POLL_MS.first; performance.now() < until && isBusy();) {
    killRest()
    await pause(ms)
    ms = Math.min(POLL_MS.most, ms * POLL_MS.factor)
  }
  await removeFolder()
  const isInUse = () => hasOthers() || isHeld()
  const isStuck = isInUse()
  const isGone = isOver
  if (isGone) releaseLease(id)
  const free = () => {
    slot?.release()
    if (!isGone) releaseLease(id)
  }
  if (isStuck) whenFree(isInUse, free)
  else free()
}

/** Kills other processes of the wall's uid: a uid belongs to one wall, so they are the wall's. */
function watchOthers(slot: Slot | undefined, firstMs: number): () => boolean {
  let scannedAt: number | undefined
  let waitMs = firstMs
  return () => {
    if (!slot || !userHasProcesses(slot.uid)) return false
    scannedAt ??= performance.now()
    // Includes the sentinel, which has that uid too and ends by itself.
    if (performance.now() - scannedAt < waitMs) return true
    const all = processesSince(slot.uid, scannedAt)
    // The warden has the uid of a wall while it sets limits of its processes (prlimit(2) compares real uids).
    const left = all.filter((pid) => pid !== process.pid)
    scannedAt = performance.now()
    waitMs = SCAN_MS.next
    signalAll(left, 'SIGKILL')
    return left.length > 0
  }
}

/** An error of a look or of a release must not end the warden, and every wall with it: what cannot be read counts as in use. */
function whenFree(
  isInUse: () => boolean,
  release: () => void,
  afterMs: number = STUCK_POLL_MS.first,
): void {
  const look = () => {
    if (attempt(isInUse) === false) attempt(release)
    else whenFree(isInUse, release, STUCK_POLL_MS.next)
  }
  setTimeout(look, afterMs).unref()
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
