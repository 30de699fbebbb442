import { open } from 'node:fs/promises'
import type { Socket } from 'node:net'
import path from 'node:path'
import type { EngineOptions } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { MachineSave } from '../../../contract/machine-save.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import type { IncomingMachine, ResumedMachine } from '../agent-guest/source.ts'
import { StartingGuests } from '../agent-guest/starting-guests.ts'
import { readSave } from '../read-save.ts'
import { nodeSocketPair } from '../socket-pair.ts'
import { makeWallFolder } from '../wall-folder.ts'
import type { ColdBoots } from './cold-boot.ts'
import type { MachineSpec } from './machine.ts'
import type { QemuProcess } from './process.ts'
import { restoreMachine, type savedFiles } from './restore.ts'
import { releaseOf, savedDevices } from './save-key.ts'
import { cloneSpec, leaseTemplate, removeTemplate } from './template.ts'

/**
 * Machines resumed from a save (`machine-copy.ts`), which its sender has put together: all of the memory, and the state of devices and
 * processor.
 *
 * Mechanism: memory and state are written to a folder of their own, which a new QEMU in a jail of its own reads as a clone reads
 * its template (clone.ts). Once the state is read, both files are removed, while QEMU still maps the memory: a save holds data of
 * a job, and should be on the disk of walls for as short as possible. The machine is left stopped.
 *
 * The state is the stream of a guest that may have changed its own hypervisor: a hostile input of QEMU's parsers, behind the
 * jail of any machine (uid, namespaces, filter of system calls, cgroup).
 *
 * Relies on the release and the devices of the save, which are compared first, and on the accelerator that was proved.
 */
export interface IncomingParts {
  readonly cold: ColdBoots
  readonly host: GuestHost
  readonly options: EngineOptions
}

/** Bytes of scratch of which the boot files are composed; only the image is used. */
const SCRATCH_BYTES = 2 ** 26

export class IncomingMachines {
  readonly #parts: IncomingParts
  readonly #takes = new StartingGuests<QemuProcess>()
  /** Sockets of saves that are being received. */
  readonly #receiving = new Set<Socket>()

  constructor(parts: IncomingParts) {
    this.#parts = parts
  }

  /** Throws MayflyError UNAVAILABLE for a save that cannot be resumed here. */
  async resume(save: MachineSave): Promise<IncomingMachine<QemuProcess>> {
    this.#takes.refuseIfClosed()
    const spec = await this.#specOf(save)
    const { program, image } = save
    const boot = await this.#parts.cold.files.of({ program, scratchBytes: SCRATCH_BYTES, image })
    this.#takes.refuseIfClosed()
    const { own, theirs } = nodeSocketPair()
    const receive = async () => {
      this.#receiving.add(own)
      try {
        return await this.#receive(save, { spec, image: boot.image, socket: own })
      } finally {
        this.#receiving.delete(own)
        own.destroy()
      }
    }
    return { socket: theirs, resumed: this.#takes.run(receive) }
  }

  /** Ends saves that are being received: a sender has minutes for one, and a warden that closes has seconds. */
  async close(): Promise<void> {
    for (const socket of this.#receiving) socket.destroy()
    await this.#takes.close()
  }

  async #specOf({ accelerator, memoryMiB, devices }: MachineSave): Promise<MachineSpec> {
    const here = await this.#parts.cold.accelerator()
    if (here.accelerator !== accelerator)
      throw other(`it ran by "${accelerator}", and machines here by "${here.accelerator}"`)
    const spec = cloneSpec({ accelerator: here.accelerator, memoryMiB })
    if (savedDevices(spec) !== devices) throw other('its devices are those of another Mayfly')
    return spec
  }

  async #receive(
    save: MachineSave,
    from: {
      readonly spec: MachineSpec
      readonly image: string
      readonly socket: Socket
    },
  ): Promise<ResumedMachine<QemuProcess>> {
    const { host } = this.#parts
    const id = leaseTemplate(host)
    try {
      const folder = makeWallFolder(id)
      await writeSave(folder, from.socket, save.memoryMiB * 2 ** 20)
      const { spec, image } = from
      const check = (machine: QemuProcess) => assertRelease(machine, save)
      const parts = { ...this.#parts, takes: this.#takes }
      const machine = await restoreMachine(parts, { spec, image, folder, check })
      return {
        process: machine,
        save,
        takeAgentChannel: () => machine.takeAgentChannel(),
        release: () => machine.release(),
      }
    } finally {
      await removeTemplate({ id }, host)
    }
  }
}

async function writeSave(folder: string, socket: Socket, memoryBytes: number): Promise<void> {
  const created = (name: (typeof savedFiles)[number]) => open(path.join(folder, name), 'wx', 0o400)
  await using memory = await created('memory')
  await using devices = await created('state')
  await memory.truncate(memoryBytes)
  await readSave(socket, { memory, devices, memoryBytes })
}

function assertRelease({ version }: QemuProcess, { release }: MachineSave): void {
  const found = releaseOf(version)
  if (found !== release) throw other(`release ${release} saved it, and ${found} is here`)
}

function other(why: string): MayflyError {
  return new MayflyError('UNAVAILABLE', `Cannot resume a machine: ${why}`, {
    hint: 'Resume it by the Mayfly, the hypervisor and the machine that saved it; its parts can be extracted and searched anywhere',
  })
}
