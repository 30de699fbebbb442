import { MayflyError } from '../../../contract/error.ts'
import { beginStop, endStop, stopAll } from './keep-stopped.ts'
import { signalAll } from '../../../os/signal.ts'
import { guestsIn, processesOfWall } from './members.ts'
import type { WallResources } from './resources.ts'

/**
 * Freezes and thaws a wall. A task frozen by the cgroup v2 freezer can still be killed. A task frozen by v1 cannot, and
 * would leak if the warden died: there the freezer is used only until each process got SIGSTOP, so that no fork is
 * missed; after that keep-stopped.ts sends SIGSTOP again at each sample.
 */
const POLL_MS = 1
const FREEZE_MS_MAX = 2_000

/**
 * Resolves with the milliseconds it took once every task is stopped. Throws MayflyError UNAVAILABLE after 2 s; a wall that
 * was not frozen before then goes on whole.
 */
export async function freeze(
  resources: WallResources,
  version: 1 | 2 | undefined,
): Promise<number> {
  const wasFrozen = resources.isFrozen
  try {
    return await freezeNow(resources, version)
  } catch (thrown) {
    if (!wasFrozen) thaw(resources)
    throw thrown
  }
}

async function freezeNow(resources: WallResources, version: 1 | 2 | undefined): Promise<number> {
  const began = performance.now()
  const { cgroup } = resources
  resources.isFrozen = true
  const isHeld = cgroup?.controllers.includes('freezer') === true
  if (isHeld) {
    cgroup.freeze()
    await until(() => !resources.isFrozen || cgroup.isFrozen(), began)
  }
  // A concurrent thaw wins.
  if (!resources.isFrozen) return resumeNow(resources, began)
  if (version === 2 && isHeld) return performance.now() - began
  stop(resources)
  if (isHeld) cgroup.thaw()
  await until(() => !resources.isFrozen || stop(resources), began)
  if (!resources.isFrozen) return resumeNow(resources, began)
  beginStop(resources, guestsIn(resources, processesOfWall(resources)))
  return performance.now() - began
}

export function thaw(resources: WallResources): void {
  resources.isFrozen = false
  endStop(resources)
  wake(resources)
}

function resumeNow(resources: WallResources, began: number): number {
  wake(resources)
  return performance.now() - began
}

function wake(resources: WallResources): void {
  resources.cgroup?.thaw()
  signalAll(guestsIn(resources, processesOfWall(resources)), 'SIGCONT')
}

/** Stops every process; true if none was running. */
function stop(resources: WallResources): boolean {
  return stopAll(guestsIn(resources, processesOfWall(resources)))
}

async function until(isSo: () => boolean, began: number): Promise<void> {
  while (!isSo()) {
    if (performance.now() - began > FREEZE_MS_MAX)
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot freeze a wall: a process still runs after ${FREEZE_MS_MAX} ms`,
      )
    await new Promise((resolve) => void setTimeout(resolve, POLL_MS))
  }
}
