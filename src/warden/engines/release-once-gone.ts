import { userHasProcesses } from '../../os/libc.js'
import { isAlive, processesSince, type ProcessIdentity } from '../../os/proc.ts'
import { signalAll } from '../../os/signal.ts'
import type { Cgroup } from '../../os/cgroup-interface.ts'
import type { Slot } from '../slots.ts'

const KILL_MS_MAX = 2_000
/** Pauses grow: many walls that end at once would otherwise keep each other from ending. */
const POLL_MS = { first: 2, factor: 1.2, most: 16 } as const
/** A scan of /proc costs milliseconds, and the rest of a wall nearly always ends by itself. */
const SCAN_MS = { first: 16, next: 60 } as const
/** A task in uninterruptible sleep outlives SIGKILL: its uid is given to no other wall meanwhile. */
const STUCK_POLL_MS = 500

/** Resources that a killed wall still holds on this machine. */
export interface KilledWall {
  readonly id: string
  readonly slot: Slot | undefined
  readonly cgroup: Pick<Cgroup, 'remove'> | undefined
  readonly processes: readonly ProcessIdentity[]
}

/**
 * Releases cgroup, folder, uid and lease of a killed wall, in that order, each once nothing uses it. Resolves after 2 s
 * at most plus the removal of the folder. A uid that is in use by then is polled for in the background; the lease stays
 * for the next sweep.
 */
export async function releaseOnceGone(
  wall: KilledWall,
  parts: {
    readonly removeFolder: () => Promise<void>
    readonly releaseLease: (id: string) => void
    /** Called before each pause: a chance to kill what is left. */
    readonly killRest?: () => void
    /**
     * Every process of the wall is in its cgroup, which is removed only once it is empty. Its uid may still show then: a
     * zombie whose parent was killed first keeps it until init reaps, and a scan of /proc to tell so takes 5 to 12 ms.
     */
    readonly isInGroup?: boolean
  },
): Promise<void> {
  const { id, slot, cgroup, processes } = wall
  const isLeft = () => processes.some(({ pid, startTime }) => isAlive(pid, startTime))
  const hasOthers = parts.isInGroup && cgroup ? () => false : watchOthers(slot)
  // The cheapest question first: of a hundred walls that end at once, each is asked many times.
  const isBusy = () => hasOthers() || isLeft() || cgroup?.remove() === false
  const until = performance.now() + KILL_MS_MAX
  for (let ms: number = POLL_MS.first; performance.now() < until && isBusy();) {
    parts.killRest?.()
    await pause(ms)
    ms = Math.min(POLL_MS.most, ms * POLL_MS.factor)
  }
  await parts.removeFolder()
  if (isBusy()) whenFree(isBusy, () => slot?.release())
  else slot?.release()
  if (!isLeft()) parts.releaseLease(id)
}

/** A uid belongs to one wall, so a process that has it is the wall's, wherever it hid. */
function watchOthers(slot: Slot | undefined): () => boolean {
  let scannedAt = performance.now()
  let waitMs: number = SCAN_MS.first
  return () => {
    if (!slot || !userHasProcesses(slot.uid)) return false
    // A sentinel has that uid too and ends by itself.
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
