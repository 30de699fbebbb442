import { isAlive, processesOf } from '../../../os/proc.ts'
import { userHasProcesses } from '../../../os/libc.js'
import { closeListener } from './exit-listener.ts'
import { killWall } from './kill.ts'
import { signalAll } from './members.ts'
import type { WallResources } from './resources.ts'
import { removeScratch } from './scratch.ts'
import type { Slot } from './slots.ts'

const KILL_POLL_MS = 2
const KILL_POLLS_MAX = 1000
const LOOK_AT_ALL_EVERY = 8
/** A task in uninterruptible sleep outlives SIGKILL: its uid is given to no other wall meanwhile. */
const STUCK_POLL_MS = 500

/**
 * Kills what is left and releases cgroup, scratch folder, uid and lease, in that order, each once nothing uses it.
 * Resolves after 2 s at most plus the removal of the scratch folder. A uid that is in use by then is polled for in the background; the lease stays
 * for the next sweep.
 */
export async function releaseResources(
  resources: WallResources,
  releaseLease: (id: string) => void,
): Promise<void> {
  closeListener(resources)
  killWall(resources)
  resources.sentinel?.close()
  const isLeft = () => resources.processes.some(({ pid, startTime }) => isAlive(pid, startTime))
  let polls = 0
  const isBusy = () =>
    isLeft() || resources.cgroup?.remove() === false || hasOthers(resources.slot, polls)
  const isBusyAtAll = () => (polls++, isBusy())
  for (; polls < KILL_POLLS_MAX && isBusy(); polls++) await pause(KILL_POLL_MS)
  if (resources.scratch) await removeScratch(resources.id)
  if (isBusy()) whenFree(isBusyAtAll, () => resources.slot?.release())
  else resources.slot?.release()
  if (!isLeft()) releaseLease(resources.id)
}

/** A uid belongs to one wall, so a process that has it is the wall's, wherever it hid. */
function hasOthers(slot: Slot | undefined, polls: number): boolean {
  if (!slot || !userHasProcesses(slot.uid)) return false
  // The sentinel has that uid too and ends by itself; a walk through /proc costs milliseconds on a busy machine.
  if (polls % LOOK_AT_ALL_EVERY !== LOOK_AT_ALL_EVERY - 1) return true
  const left = processesOf(slot.uid)
  signalAll(left, 'SIGKILL')
  return left.length > 0
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
