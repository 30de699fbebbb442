import { MayflyError } from '../contract/error.ts'
import { beginStill, endStill, runs } from './still.ts'
import { guestsIn, processesOfWall, signalAll, type Taken } from './taken.ts'

/**
 * Standing still. In version 2 the kernel holds a group still and can still end it. In version 1 what is frozen
 * cannot die, and if the warden died nobody would thaw it: there the group is only held for as long as it takes to
 * stop each process in it, so that none is missed; from then on each look stops them again.
 */
const POLL_MS = 1
const FREEZE_MS_MAX = 2_000

/** Resolves with the milliseconds it took when everything in it stands still. */
export async function freeze(taken: Taken, version: 1 | 2 | undefined): Promise<number> {
  const began = performance.now()
  const { cgroup } = taken
  taken.isFrozen = true
  const isHeld = cgroup?.controllers.includes('freezer') === true
  if (isHeld) {
    cgroup.freeze()
    await until(() => !taken.isFrozen || cgroup.isFrozen(), began)
  }
  // Whoever thawed it meanwhile has the last word.
  if (!taken.isFrozen) return goOn(taken, began)
  if (version === 2 && isHeld) return performance.now() - began
  stop(taken)
  if (isHeld) cgroup.thaw()
  await until(() => !taken.isFrozen || stop(taken), began)
  if (!taken.isFrozen) return goOn(taken, began)
  beginStill(taken, guestsIn(taken, processesOfWall(taken)))
  return performance.now() - began
}

export function thaw(taken: Taken): void {
  taken.isFrozen = false
  endStill(taken)
  wake(taken)
}

function goOn(taken: Taken, began: number): number {
  wake(taken)
  return performance.now() - began
}

function wake(taken: Taken): void {
  taken.cgroup?.thaw()
  signalAll(guestsIn(taken, processesOfWall(taken)), 'SIGCONT')
}

/** Stops whatever runs; true when nothing did. */
function stop(taken: Taken): boolean {
  const running = guestsIn(taken, processesOfWall(taken)).filter(runs)
  signalAll(running, 'SIGSTOP')
  return running.length === 0
}

async function until(isSo: () => boolean, began: number): Promise<void> {
  while (!isSo()) {
    if (performance.now() - began > FREEZE_MS_MAX)
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot freeze a wall: it still moves after ${FREEZE_MS_MAX} ms`,
      )
    await new Promise((resolve) => void setTimeout(resolve, POLL_MS))
  }
}
