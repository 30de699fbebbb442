import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { MappedMemory, type PageRun } from '../../../os/mapped-memory.ts'
import type { MemoryBase } from '../../../contract/warden.ts'
import { jsonBytes, memoryFiles } from '../agent-guest/memory-frames.ts'
import type { CopyBounds, GuestCopy, GuestFile, MachineKey } from '../agent-guest/source.ts'
import { machinePaths, type MachineSpec } from './machine.ts'
import { changedPageGroups, memoryMapping } from './memory-difference.ts'
import type { QemuProcess } from './process.ts'
import { releaseOf, savedDevices, savedMechanism as mechanism } from './save-key.ts'

/**
 * Copy of a paused machine: its memory (`memory-difference.ts`), the state of its devices and its processor, and the description
 * that another machine needs to resume from both.
 *
 * Devices: `xen-save-devices-state`, which also works without Xen, writes a migration stream without memory to the only file
 * that the machine may write, 160 KB in 5 ms. A guest may have compromised the writer, so the file is opened without following
 * links, must be a regular file, and is read up to a limit.
 *
 * Limits: bytes of all files together, and time to copy the memory; the copy lists the parts that were left out.
 */
export interface CopiedMachine {
  readonly process: QemuProcess
  readonly spec: Pick<MachineSpec, 'accelerator' | 'memoryMiB'>
  readonly program: MachineKey['program']
  /** SHA-256 of the image that is its disk. */
  readonly image: string
  /** Absent if it was booted. */
  readonly base?: CopiedBase
  /** Pages of the save it was forked from that differ from `base`; absent for a clone of the template itself. */
  readonly inherited?: readonly PageRun[]
}

/** Memory file of a template, open as long as its clone lives, because the template may be replaced in the meantime. */
export interface CopiedBase extends MemoryBase {
  readonly file: FileHandle
}

const DEVICES_BYTES_MAX = 8 * 2 ** 20

export class MachineCopy implements GuestCopy {
  readonly #machine: CopiedMachine

  constructor(machine: CopiedMachine) {
    this.#machine = machine
  }

  get base(): MemoryBase | undefined {
    const { base } = this.#machine
    return base && { path: base.path, sha256: base.sha256 }
  }

  /** Clones alone: the copy of a machine that was booted has all memory that it touched, and is rarely whole. */
  get isResumable(): boolean {
    return this.#machine.base !== undefined
  }

  async *files(bytesMax: number): AsyncGenerator<GuestFile, CopyBounds> {
    const devices = await readDevices(this.#machine.process)
    yield { name: 'machine.json', bytes: this.#description() }
    yield { name: 'devices.img', bytes: devices }
    const { process, spec, base, inherited = [] } = this.#machine
    const pid = process.processes.at(-1)!.pid
    await using memory = await MappedMemory.open(pid, memoryMapping(pid, spec.memoryMiB, !!base))
    return yield* memoryFiles(changedPageGroups({ memory, base: base?.file, inherited }), {
      memoryBytes: spec.memoryMiB * 2 ** 20,
      bytesMax: bytesMax - devices.length,
    })
  }

  #description(): Buffer {
    const { process, program, spec, image, base } = this.#machine
    const { accelerator, memoryMiB } = spec
    const qemu = releaseOf(process.version)
    const template = base?.sha256 ?? null
    const devices = savedDevices(spec)
    const save = { mechanism, program, accelerator, memoryMiB, image, release: qemu, devices }
    return jsonBytes({ format: 1, accelerator, memoryMiB, qemu, image, template, save })
  }
}

/** State of the devices and the processor of a paused machine. Rejects with MayflyError PROTOCOL, and Error for a file that is none. */
export async function readDevices(process: QemuProcess): Promise<Buffer> {
  const filename = machinePaths.ownDevices
  const place = path.join(process.folder, path.basename(filename))
  const asked = { filename, live: false } as const
  try {
    await process.control.ask('xen-save-devices-state', asked)
    return await readPlain(place, DEVICES_BYTES_MAX)
  } finally {
    await using file = await openPlain(place, constants.O_WRONLY)
    await file.truncate()
  }
}

const openPlain = (place: string, flags: number) =>
  open(place, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK)

async function readPlain(place: string, bytesMax: number): Promise<Buffer> {
  await using file = await openPlain(place, constants.O_RDONLY)
  const facts = await file.stat()
  if (!facts.isFile()) throw new Error('the state of its devices is not a regular file')
  if (facts.size > bytesMax) throw new Error('the state of its devices is too large')
  const bytes = Buffer.alloc(facts.size)
  const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
  return bytes.subarray(0, bytesRead)
}
