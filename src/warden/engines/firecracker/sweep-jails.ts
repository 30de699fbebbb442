import type { DeadEnclosure, Remains } from '../../../contract/engine.ts'
import { doze } from '../../../lib/doze.ts'
import { livingOf, type ProcessIdentity } from '../../../os/proc.ts'
import { signalAll } from '../../../os/signal.ts'
import { remainsOf, sweepDead } from '../sweep.ts'
import { jailedProcess, removeJail } from './jail-files.ts'
import type { JailLocation } from './jailer.ts'

/**
 * Ends the machines of dead wardens: processes and cgroup of the lease, the process that the jailer started (race: its pid may not
 * have reached the lease), and the jail. Blocks, like every sweep.
 */
const GONE_MS_MAX = 1_000
const POLL_MS = 5

/** Data of a machine's lease from which it is swept. */
export function machineRemains(
  { chrootBase, execFile }: JailLocation,
  processes: readonly ProcessIdentity[],
  cgroup: string | null,
): Remains {
  return { ...remainsOf(processes, cgroup), chrootBase, execFile }
}

export function sweepJails(dead: readonly DeadEnclosure[]): void {
  const places = dead.flatMap((one) => placeOf(one) ?? [])
  // After a reboot only files are left: the pids in the leases are stale, and no process has those folders as its root.
  const jailed = places.flatMap((place) => jailedProcess(place) ?? [])
  for (const { pid } of jailed) signalAll([pid], 'SIGKILL')
  sweepDead(dead)
  const until = performance.now() + GONE_MS_MAX
  while (livingOf(jailed).length > 0 && performance.now() < until) doze(POLL_MS)
  for (const place of places) removeJail(place)
}

/** Location of a jail, from a lease; undefined if the data of the file has another shape. */
function placeOf({
  id,
  remains: { chrootBase, execFile },
}: DeadEnclosure): JailLocation | undefined {
  const isPlace = isAbsolute(chrootBase) && isAbsolute(execFile) && /^[A-Za-z0-9-]{1,64}$/.test(id)
  return isPlace ? { id, chrootBase, execFile } : undefined
}

function isAbsolute(value: unknown): value is string {
  return typeof value === 'string' && /^\/(?!.*(^|\/)\.\.(\/|$))./.test(value)
}
