import { existsSync } from 'node:fs'
import { mayInstallRunsc } from '../../scripts/debian-packages.ts'
import { wallUids } from '../../src/contract/uids.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { mappedUids, nameOfProcess } from '../../src/os/proc.ts'
import { tryReadText } from '../../src/os/read.ts'
import type { Remains } from '../../src/contract/engine.ts'
import { findJailPrograms } from '../../src/warden/engines/qemu/jail.ts'
import type { GuestHost } from '../../src/warden/engines/agent-guest/jailed-guest.ts'
import { findHypervisor, unpackedFolder } from '../../src/warden/engines/qemu/program.ts'

export const noQemu = 'QEMU 8.2 or newer is missing'

/** Path of the unpacked QEMU. With `CI=true` this throws if it is missing on a machine that may install it. */
export function isQemuThere(): boolean {
  const isThere = existsSync(unpackedFolder) && findProgram('bwrap') !== undefined
  if (!isThere && process.env['CI'] === 'true' && mayInstallRunsc()) throw new Error(noQemu)
  return isThere
}

/** A played warden that keeps the leases of guests. */
export function guestHost(): GuestHost & { readonly leases: Map<string, Remains> } {
  const leases = new Map<string, Remains>()
  return {
    leases,
    cgroups: openCgroups(),
    isRoot: process.getuid?.() === 0 && mappedUids() > wallUids.last,
    lease: (id, remains) => void leases.set(id, remains),
    releaseLease: (id) => void leases.delete(id),
  }
}

/** QEMU of this machine, and the programs of its jail. */
export function machinePrograms() {
  return { program: findHypervisor(), programs: findJailPrograms() }
}

/** Selects the processes of virtual machines: QEMU, and its jails, which have the same arguments. */
export function machinesOf(pids: readonly number[]): {
  readonly qemu: readonly number[]
  readonly jails: readonly number[]
} {
  const qemu: number[] = []
  const jails: number[] = []
  for (const pid of pids) {
    const isMachine = tryReadText(`/proc/${pid}/cmdline`)?.includes('q35')
    if (isMachine) (nameOfProcess(pid).includes('bwrap') ? jails : qemu).push(pid)
  }
  return { qemu, jails }
}
