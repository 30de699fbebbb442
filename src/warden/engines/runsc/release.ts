import { userHasProcesses } from '../../../os/libc.js'
import { isAlive, processesOf } from '../../../os/proc.ts'
import { killResources } from './kill.ts'
import { removeFolder } from './place.ts'
import type { RunscResources } from './wall.ts'

const KILL_POLL_MS = 2
const KILL_POLLS_MAX = 1000
/** A task in uninterruptible sleep outlives SIGKILL: its uid is given to no other wall meanwhile. */
const STUCK_POLL_MS = 500
const LOOK_AT_ALL_EVERY = 8

/**
 * Kills what is left and gives cgroup, folder, uid and lease back, in that order, each once nothing uses it. Resolves
 * after 2 s at most plus the removal of the folder; a uid that is in use by then is polled for in the background.
 */
export async function releaseResources(
  resources: RunscResources,
  releaseLease: (id: string) => void,
): Promise<void> {
  const { id, slot } = resources
  killResources(resources)
  let polls = 0
  const isLeft = () => resources.processes.some(({ pid, startTime }) => isAlive(pid, startTime))
  const isBusy = () => isLeft() || resources.cgroup?.remove() === false || hasOthers(slot, polls)
  for (; polls < KILL_POLLS_MAX && isBusy(); polls++) {
    for (const pid of resources.cgroup?.processes() ?? []) killQuietly(pid)
    await pause(KILL_POLL_MS)
  }
  await removeFolder(id)
  if (isBusy())
    whenFree(
      () => (polls++, isBusy()),
      () => slot?.release(),
    )
  else slot?.release()
  if (!isLeft()) releaseLease(id)
}

/** A uid belongs to one wall, so a process that has it is the wall's, wherever it hid. */
function hasOthers(slot: RunscResources['slot'], polls: number): boolean {
  if (!slot || !userHasProcesses(slot.uid)) return false
  if (polls % LOOK_AT_ALL_EVERY !== LOOK_AT_ALL_EVERY - 1) return true
  const left = processesOf(slot.uid)
  for (const pid of left) killQuietly(pid)
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

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // ESRCH: gone in between.
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms))
}
