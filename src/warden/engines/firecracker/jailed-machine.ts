import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { freeSlot } from '../../slots.ts'
import { newWallId } from '../wall-folder.ts'
import type { FirecrackerFacts } from './detect.ts'
import type { JailLocation } from './jailer.ts'
import { FirecrackerMachine } from './machine.ts'
import { machineRemains } from './sweep-jails.ts'

/** Programs of an installed Firecracker, and the folder of its jails. */
export interface FirecrackerPrograms extends Extract<FirecrackerFacts, { kind: 'ready' }> {
  /** Writable by root alone, on a file system without `noexec` and `nodev`. */
  readonly jails: string
}

const MIB = 2 ** 20
/** Memory of Firecracker itself; upstream states at most 5 MiB for one processor. */
const OWN_MIB = 64
/** Limit of threads: one per processor, one of the API, one of the devices. */
const TASKS_MAX = 128
/** Allowance for device state in the largest file, the memory of a snapshot. */
const FILE_MIB = 16

/** Starts Firecracker without a guest, with a uid and a cgroup of its own. Releases all before it throws MayflyError. */
export async function startJailed(
  { firecracker, jailer, jails }: FirecrackerPrograms,
  host: GuestHost,
  parts: { readonly memoryMiB: number; readonly fill: (root: string) => void },
): Promise<FirecrackerMachine> {
  const place = jailLocationOf('w', { firecracker, jails })
  const slot = freeSlot()
  let cgroup
  try {
    cgroup = host.cgroups?.create(place.id)
    cgroup?.limit({ memory: (parts.memoryMiB + OWN_MIB) * MIB })
    if (cgroup?.controllers.includes('pids')) cgroup.limit({ pids: TASKS_MAX })
  } catch (error) {
    cgroup?.remove()
    slot.release()
    throw error
  }
  const group = cgroup?.name ?? null
  return await FirecrackerMachine.start({
    place,
    jailer,
    slot,
    cgroup,
    fileBytesMax: (parts.memoryMiB + FILE_MIB) * MIB,
    fill: parts.fill,
    lease: (processes) => host.lease(place.id, machineRemains(place, processes, group)),
    releaseLease: (id) => host.releaseLease(id),
  })
}

/** Location of a new jail. */
export function jailLocationOf(
  letter: 't' | 'w',
  { firecracker, jails }: Pick<FirecrackerPrograms, 'firecracker' | 'jails'>,
): JailLocation {
  return { id: newWallId(letter), chrootBase: jails, execFile: firecracker }
}
