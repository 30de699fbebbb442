import type { DeadEnclosure, Remains } from '../../../../contract/engine.ts'
import { attempt } from '../../../../lib/attempt.ts'
import { readProcess } from '../../../../os/ps.ts'
import { sweepWallFolder } from '../../wall-folder.ts'

/** Data of a lease: the process, by its start time as ps(1) prints it. */
export function seatbeltRemains(pid: number, started: string): Remains {
  return { process: { pid, started } }
}

/** Kills the processes of dead wardens that are still those of their leases, and removes their folders. */
export function sweepSeatbelt(dead: readonly DeadEnclosure[]): void {
  for (const { id, isThisBoot, remains } of dead) {
    const { pid, started } = (remains['process'] ?? {}) as Readonly<Record<string, unknown>>
    if (isThisBoot && typeof pid === 'number' && readProcess(pid)?.started === started)
      attempt(() => process.kill(pid, 'SIGKILL'))
    sweepWallFolder(id)
  }
}
