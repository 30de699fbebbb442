import { chownSync, closeSync, constants, ftruncateSync, openSync } from 'node:fs'
import type { Socket } from 'node:net'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import { resolvesWithin } from '../../../lib/within.ts'
import { anonymousBytes } from '../../../os/proc.ts'
import {
  forkGuest,
  JailedGuest,
  type ForkedGuest,
  type GuestHost,
} from '../agent-guest/jailed-guest.ts'
import { memoryIn } from '../group-bounds.ts'
import type { VmmEnd } from '../agent-guest/source.ts'
import { makeWallFolder, wallFolder } from '../wall-folder.ts'
import { machineFilter } from './filter.ts'
import { jailCommand, type JailPrograms, type MachineFiles } from './jail.ts'
import { diskId, machineArguments, machineFds, machinePaths, type MachineSpec } from './machine.ts'
import { oldestVersion, type HypervisorProgram } from './program.ts'
import { openQmp, saidByMachine, type QmpClient } from './qmp.ts'
import type { QmpEvent, QmpVersion } from './qmp-commands.ts'

/**
 * QEMU in its jail (`src/warden/engines/agent-guest/jailed-guest.ts`).
 *
 * Start: fork, with a folder of its own, and wait for the QMP greeting. Control connection and agent channel are socket pairs
 * that QEMU inherits: there is no path to connect to, and QEMU reads end of file when this process exits. A failed start releases
 * everything before it rejects.
 *
 * End: QEMU ends with its control connection, because nothing could pause, capture or limit it without. A guest can bring that about
 * (`qmp.ts`), and ends itself by it.
 *
 * Memory: the guest's RAM is a file in its folder, or a private mapping of a template's file; a cgroup limits it together with
 * QEMU's own memory. Without a cgroup only the size of the machine limits QEMU, as long as no guest has compromised it.
 *
 * Not handled: the protocol of the agent channel, the end of a job, several machines in one jail.
 */
export interface MachineStart {
  readonly program: HypervisorProgram
  readonly programs: JailPrograms
  readonly spec: MachineSpec
  readonly files: MachineFiles
  /** Additional arguments, for a probe. */
  readonly words?: readonly string[]
  readonly onEvent?: (event: QmpEvent) => void
  /** Milliseconds until the greeting. */
  readonly readyMsMax?: number
  /** Called with the uid of its jail before the fork; undefined where walls share the warden's. */
  readonly onUid?: (uid: number | undefined) => void
}

const MIB = 2 ** 20
const READY_MS_MAX = 30_000
/** Memory of QEMU itself: translated code, device state, the program. */
const OWN_MIB = 256
/**
 * Limit of file size of a machine that becomes a template: its memory, or a dump, which is a little larger. Of others: device
 * state.
 */
const FILE_MIB = 64
const DEVICES_MIB = 16
const TASKS_MAX = 64
const QUIT_MS_MAX = 5_000
const KVM = '/dev/kvm'

/** Resolves with a machine that waits for `cont`. Throws MayflyError UNAVAILABLE with the output of QEMU, and OVERLOADED. */
export async function startMachine(parts: MachineStart, host: GuestHost): Promise<QemuProcess> {
  const machine = spawnMachine(parts, host)
  try {
    await machine.greet()
    return machine
  } catch (error) {
    await machine.release()
    throw machine.startError(error)
  }
}

/** A forked QEMU. */
export class QemuProcess extends JailedGuest {
  readonly folder: string
  readonly #parts: MachineStart
  /** Fault that ended its control connection, as a line of its error output. */
  readonly #told: { fault: string }
  readonly #output: () => string
  #control: QmpClient | undefined
  #version: QmpVersion | undefined

  /** For `startMachine`. */
  constructor(forked: ForkedGuest, parts: MachineStart, host: GuestHost) {
    const told = { fault: '' }
    super({ ...forked, complaint: () => `${forked.complaint()}${told.fault}` }, host)
    this.#told = told
    this.#output = forked.complaint
    this.folder = wallFolder(forked.id)
    this.#parts = parts
  }

  /** Control connection. */
  get control(): QmpClient {
    if (!this.#control) throw new Error('the machine has not greeted')
    return this.#control
  }

  get version(): QmpVersion {
    if (!this.#version) throw new Error('the machine has not greeted')
    return this.#version
  }

  /** Host end of the agent's channel. */
  get channel(): Socket {
    return this.streams[machineFds.agent]!
  }

  /** The same, handed over: see `takeStream`. */
  takeAgentChannel(): Socket {
    return this.takeStream(machineFds.agent)
  }

  /** Host end of the job's channel; see `takeStream`. */
  takeJobChannel(): Socket {
    return this.takeStream(machineFds.job)
  }

  /** Waits for the greeting. Throws MayflyError PROTOCOL, and UNAVAILABLE for a release that is too old. */
  async greet(): Promise<void> {
    const { readyMsMax = READY_MS_MAX, onEvent } = this.#parts
    this.#control = await openQmp(this.streams[machineFds.control]!, {
      answerMsMax: readyMsMax,
      ...(onEvent && { onEvent }),
    })
    void this.#endWith(this.#control)
    this.#version = await this.#control.greeted
    const { major, minor } = this.#version
    if (
      major < oldestVersion.major ||
      (major === oldestVersion.major && minor < oldestVersion.minor)
    )
      throw new MayflyError('UNAVAILABLE', `Cannot use QEMU ${major}.${minor}: it is too old`, {
        hint: `Install QEMU ${oldestVersion.major}.${oldestVersion.minor} or newer`,
      })
    this.recordProcesses()
  }

  /** QEMU closes its end when it exits, with an exit code that is awaited for a while; after a fault it is killed at once. */
  async #endWith(control: QmpClient): Promise<void> {
    const why = await control.ended
    if (control.fault === undefined && (await resolvesWithin(this.ended, QUIT_MS_MAX))) return
    if (control.fault !== undefined) this.#told.fault = `\nits control connection ended: ${why}`
    this.kill()
  }

  /** Sends `quit`, and kills it after a timeout. Resolves with its end. */
  async stop(): Promise<VmmEnd> {
    this.control.ask('quit', undefined, { msMax: QUIT_MS_MAX }).catch(() => this.kill())
    const late = setTimeout(() => this.kill(), QUIT_MS_MAX)
    try {
      return await this.ended
    } finally {
      clearTimeout(late)
    }
  }

  /** Pauses the guest's processor; QEMU itself keeps running and answers. */
  async freeze(): Promise<void> {
    await this.control.ask('stop')
  }

  async thaw(): Promise<void> {
    await this.control.ask('cont')
  }

  /**
   * Limits the disk rate of the guest, and reads the limit back. Throws MayflyError UNAVAILABLE if QEMU reports another limit.
   */
  async limitDisk(bytesASecond: number): Promise<void> {
    // At least 1: QEMU treats 0 as unlimited.
    const bps = Math.max(1, Math.floor(bytesASecond))
    const others = { bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 }
    await this.control.ask('block_set_io_throttle', { id: diskId, bps, ...others })
    const disks = await this.control.ask('query-block')
    const held = disks.find(({ qdev }) => qdev === diskId)?.inserted?.bps
    if (held === bps) return
    throw new MayflyError('UNAVAILABLE', `Cannot limit the disk of a machine: QEMU reports ${held}`)
  }

  memory(): number {
    return this.cgroup ? memoryIn(this.cgroup) : anonymousBytes(this.processes.at(-1)!.pid)
  }

  /** Closes its control connection too. */
  override release(): Promise<void> {
    this.#control?.close()
    return super.release()
  }

  /** Error of a failed start, with the output of QEMU. */
  startError(cause: unknown): unknown {
    const said = this.#output().trim()
    const isOwn = cause instanceof MayflyError && cause.code !== 'PROTOCOL'
    if (isOwn || said === '') return cause
    const line = saidByMachine(said.split('\n')[0]!)
    const message = `Cannot start a machine: ${line}`
    return new MayflyError('UNAVAILABLE', message, { cause, detail: said })
  }
}

/** Allocates a uid, a cgroup and a folder, and forks. Releases all of them before it throws. */
function spawnMachine(parts: MachineStart, host: GuestHost): QemuProcess {
  const { spec, program, programs, files, words = [], onUid } = parts
  const args = [...machineArguments(spec), ...words]
  const kvm = spec.accelerator === 'kvm' ? openKvm() : undefined
  try {
    const bounds = { memoryBytes: (spec.memoryMiB + OWN_MIB) * MIB, tasksMax: TASKS_MAX }
    const forked = forkGuest(host, bounds, ({ id, uid }) => {
      const own = makeMachineFolder(id, uid, spec)
      onUid?.(uid)
      const isOwnWritable = spec.memory === 'shared'
      const fileBytesMax = (isOwnWritable ? spec.memoryMiB + FILE_MIB : DEVICES_MIB) * MIB
      const { filter: fd } = machineFds
      const jail = { program, files, own, isOwnWritable, uid, fileBytesMax, filterFd: fd }
      return {
        command: jailCommand(jail, programs, args),
        stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe', kvm ?? 'ignore', 'pipe'],
        filter: { fd, bytes: machineFilter(spec.accelerator) },
      }
    })
    return new QemuProcess(forked, parts, host)
  } finally {
    if (kvm !== undefined) closeSync(kvm)
  }
}

/** Throws EEXIST if another user made it, since /tmp is world-writable. The memory file of a template is sparse. */
function makeMachineFolder(id: string, uid: number | undefined, spec: MachineSpec): string {
  const folder = makeWallFolder(id)
  const isTemplate = spec.memory === 'shared'
  const file = path.join(
    folder,
    path.basename(machinePaths[isTemplate ? 'ownMemory' : 'ownDevices']),
  )
  const fd = openSync(file, 'wx', 0o600)
  if (isTemplate) ftruncateSync(fd, spec.memoryMiB * MIB)
  closeSync(fd)
  if (uid !== undefined) chownSync(file, uid, uid)
  if (uid !== undefined) chownSync(folder, uid, uid)
  return folder
}

function openKvm(): number {
  try {
    return openSync(KVM, constants.O_RDWR)
  } catch (cause) {
    throw new MayflyError('UNAVAILABLE', `Cannot open "${KVM}"`, { cause })
  }
}
