import { chmodSync, chownSync } from 'node:fs'
import path from 'node:path'
import type { EngineOptions } from '../../../contract/engine.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import type { StartingGuests } from '../agent-guest/starting-guests.ts'
import { findJailPrograms } from './jail.ts'
import { machinePaths, type MachineSpec } from './machine.ts'
import { Migrations } from './migrations.ts'
import { startMachine, type QemuProcess } from './process.ts'
import { findHypervisor } from './program.ts'

/**
 * Restores a machine from a folder with the files `memory` and `state`, and leaves it stopped: a save that was sent (`incoming.ts`), or that
 * of a running machine (`fork.ts`). Both hold data of a job, so the files belong to the uid of one jail.
 *
 * QEMU maps the memory privately and has read the state once this resolves; the files may be removed or given to another uid then.
 */
export interface RestoredFrom {
  readonly spec: MachineSpec
  readonly image: string
  readonly folder: string
  /** Called with the machine before its state is read; throws for one that must not read it. */
  readonly check?: (machine: QemuProcess) => void
}

export interface RestoreParts {
  readonly host: GuestHost
  readonly options: EngineOptions
  readonly takes: StartingGuests<QemuProcess>
}

/** Files of a save. */
export const savedFiles = ['memory', 'state'] as const
/** The state that `xen-save-devices-state` writes has no section of the configuration of a migration. */
const words = ['-global', 'migration.send-configuration=off']
const RESTORE_MS_MAX = 120_000

/** Releases everything before it throws MayflyError UNAVAILABLE, PROTOCOL or OVERLOADED, or the error of `check`. */
export async function restoreMachine(
  { host, options, takes }: RestoreParts,
  { spec, image, folder, check }: RestoredFrom,
): Promise<QemuProcess> {
  takes.refuseIfClosed()
  const { hide } = options
  const programs = { program: findHypervisor(hide), programs: findJailPrograms(hide) }
  const migrations = new Migrations()
  const { onEvent } = migrations
  const files = { image, template: folder }
  const onUid = (uid: number | undefined) => giveTo(uid, folder)
  const machine = await startMachine({ ...programs, spec, files, words, onEvent, onUid }, host)
  takes.track(machine)
  try {
    check?.(machine)
    await migrations.prepare(machine.control, RESTORE_MS_MAX)
    const state = `file:${machinePaths.templateState}` as const
    await migrations.restore(machine.control, state, RESTORE_MS_MAX)
    await machine.freeze()
    return machine
  } catch (error) {
    await machine.release()
    throw machine.startError(error)
  } finally {
    takes.forget(machine)
  }
}

function giveTo(uid: number | undefined, folder: string): void {
  if (uid === undefined) return
  for (const name of savedFiles) chownSync(path.join(folder, name), uid, uid)
  chownSync(folder, uid, uid)
  chmodSync(folder, 0o500)
}
