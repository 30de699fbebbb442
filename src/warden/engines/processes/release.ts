import { isAlive, processesSince } from '../../../os/proc.ts'
import { userHasProcesses } from '../../../os/libc.js'
import { closeListener } from './exit-listener.ts'
import { killWall } from './kill.ts'
import { signalAll } from './members.ts'
import type { WallResources } from './resources.ts'
import { removeScratch } from './scratch.ts'
import type { Slot } from '../../slots.ts'

const KILL_MS_MAX = 2_000
/** Pauses grow: many walls that end at once would otherwise keep each other from ending. */
const POLL_MS = { first: 2, factor: 1.2, most: 16 } as const
/** A scan of /proc costs milliseconds, and the rest of a wall nearly always ends by itself. */
const SCAN_MS = { first: 16, next: 60 } as const
/** A task in uninterruptible sleep outlives SIGKILL: its uid is given to no other wall meanwhile. */
const STUCK_POLL_MS = 500

/**
 * Kills what is left and releases cgroup, scratch folder, uid and lease, in that order, each once nothing uses it.
 * Resolves after 2 s at most plus the removal of the scratch folder. A uid that is in use by then is polled for in the
 * background; the lease stays for the next sweep.
 */
export async function releaseResources(
  resources: WallResources,
  releaseLease: (id: string) => void,
): Promise<void> {
  closeListener(resources)
  killWall(resources)
  resources.sentinel?.close()
  const isLeft = () => resources.processes.some(({ pid, startTime }) => isAlive(pid, startTime))
  const hasOthers = watchOthers(resources.slot)
  const isBusy = () => isLeft() || resources.cgroup?.remove() === false || hasOthers()
  const until = performance.now() + KILL_MS_MAX
  for (let ms: number = POLL_MS.first; performance.now() < until && isBusy();) {
    await pause(ms)
    ms = Math.min(POLL_MS.most, ms * POLL_MS.factor)
  }
  if (resources.scratch) await removeScratch(resources.id)
  if (isBusy()) whenFree(isBusy, () => resources.slot?.release())
  else resources.slot?.release()
  if (!isLeft()) releaseLease(resources.id)
}

/** A uid belongs to one wall, so a process that has it is the wall's, wherever it hid. */
function watchOthers(slot: Slot | undefined): () => boolean {
  let scannedAt = performance.now()
  let waitMs: number = SCAN_MS.first
  return () => {
    if (!slot || !userHasProcesses(slot.uid)) return false
    // The sentinel has that uid too and ends by itself.
    if (performance.now() - scannedAt < waitMs) return true
    const left = processesSince(slot.uid, scannedAt)
    scannedAt = performance.now()
    waitMs = SCAN_MS.next
    signalAll(left, 'SIGKILL')
    return left.length > 0
  }
}

function whenFree(isBusy: () => boolean, release: () => void): void {
  const poll = setInterval(() => {
    if (isBusy()) return
    clearInterval(poll)
    release()
  }, STUCK_POLL_MS)
  poll.unref()
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
