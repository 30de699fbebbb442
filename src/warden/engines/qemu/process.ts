import { randomBytes } from 'node:crypto'
import { chownSync, closeSync, constants, ftruncateSync, mkdirSync, openSync } from 'node:fs'
import type { Socket } from 'node:net'
import path from 'node:path'
import type { Remains } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import { belowOf } from '../../../os/process-tree.ts'
import type { Cgroup, CgroupRoot } from '../../../os/cgroup-interface.ts'
import { anonymousBytes, identify, isAlive, type ProcessIdentity } from '../../../os/proc.ts'
import { signalAll } from '../../../os/signal.ts'
import type { SpawnedChild } from '../../../os/spawned-child.ts'
import { listenTo } from '../../readiness.ts'
import { freeSlot, type Slot } from '../../slots.ts'
import { releaseOnceGone } from '../release-once-gone.ts'
import { entering, shell, startChild } from '../spawned.ts'
import { remainsOf } from '../sweep.ts'
import { removeWallFolder, wallFolder } from '../wall-folder.ts'
import { memoryIn } from '../agent-guest/measure.ts'
import { machineFilter } from './filter.ts'
import { jailCommand, type JailPrograms, type MachineFiles } from './jail.ts'
import { machineArguments, machineFds, type MachineSpec } from './machine.ts'
import { oldestVersion, type HypervisorProgram } from './program.ts'
import { openQmp, saidByMachine, type QmpClient } from './qmp.ts'
import type { QmpEvent, QmpVersion } from './qmp-commands.ts'

/**
 * QEMU in its jail, from its fork to the release of all that it holds.
 *
 * Start: take a uid (as root), a cgroup and a folder, write the lease, fork, and wait for the greeting of QMP. Control
 * connection and channel of the agent are socket pairs that QEMU inherits: there is no path to connect to, and the end of
 * this process is an end of file in QEMU. A start that fails releases everything before it rejects.
 *
 * Memory: the guest's RAM is a file of its folder or a private map of a template's; a cgroup bounds both together with
 * QEMU's own. Without a cgroup QEMU is bounded by the size of the machine alone, plus what a broken-out guest takes.
 *
 * Does not handle: what is said on the channel, the end of a job, several machines in one jail.
 */
export interface MachineStart {
  readonly program: HypervisorProgram
  readonly programs: JailPrograms
  readonly spec: MachineSpec
  readonly files: MachineFiles
  /** Extra words, for a probe. */
  readonly words?: readonly string[]
  readonly onEvent?: (event: QmpEvent) => void
  /** Milliseconds until the greeting. */
  readonly readyMsMax?: number
}

/** The warden and this machine, as a start needs them. */
export interface MachineHost {
  readonly cgroups: CgroupRoot | undefined
  /** Root with uids for walls. */
  readonly isRoot: boolean
  lease(id: string, remains: Remains): void
  releaseLease(id: string): void
}

export interface MachineEnd {
  readonly exitCode: number | null
  readonly signal: string | null
  /** Last bytes of its standard error, unread. */
  readonly said: string
}

const MIB = 2 ** 20
const READY_MS_MAX = 30_000
/** Memory of QEMU beside that of its guest: translated code, device state, the program. */
const OWN_MIB = 256
/** State and dump are a little larger than the memory. */
const FILE_MIB = 64
const TASKS_MAX = 64
const QUIT_MS_MAX = 5_000
const KVM = '/dev/kvm'

/** Resolves with a machine that waits for `cont`. Throws MayflyError UNAVAILABLE with what QEMU said, and OVERLOADED. */
export async function startMachine(parts: MachineStart, host: MachineHost): Promise<QemuProcess> {
  const machine = spawnMachine(parts, host)
  try {
    await machine.greet()
    return machine
  } catch (error) {
    await machine.release()
    throw machine.failed(error)
  }
}

interface MachineResources {
  readonly id: string
  readonly slot: Slot | undefined
  readonly cgroup: Cgroup | undefined
  readonly child: SpawnedChild
  readonly complaint: () => string
}

/** A QEMU that was forked. */
export class QemuProcess {
  readonly id: string
  readonly folder: string
  readonly uid: number | undefined
  /** Resolves after its last instruction; never rejects. */
  readonly ended: Promise<MachineEnd>
  readonly #resources: MachineResources
  readonly #parts: MachineStart
  readonly #host: MachineHost
  #processes: readonly ProcessIdentity[]
  #control: QmpClient | undefined
  #version: QmpVersion | undefined
  #released: Promise<void> | undefined

  /** For `startMachine`. */
  constructor(resources: MachineResources, parts: MachineStart, host: MachineHost) {
    this.id = resources.id
    this.folder = wallFolder(resources.id)
    this.uid = resources.slot?.uid
    this.#resources = resources
    this.#parts = parts
    this.#host = host
    const { pid } = resources.child
    this.#processes = pid === undefined ? [] : [identify(pid)]
    this.ended = endOf(resources)
    this.#lease()
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
    return this.#resources.child.stdio[machineFds.agent] as Socket
  }

  /**
   * Host end of the job's channel, which the caller then owns; nothing was read from it here. Callable once. Throws
   * MayflyError NOT_FOUND for a machine that has ended.
   */
  takeJobChannel(): Socket {
    const stdio = this.#streams
    const socket = stdio[machineFds.job]
    // At the end of a child every stream of its `stdio` is read to its end, and bytes of one that was handed over would be lost.
    stdio[machineFds.job] = null
    if (socket && !socket.destroyed) return socket
    throw new MayflyError('NOT_FOUND', `Cannot use machine "${this.id}": its channel is gone`)
  }

  get #streams(): (Socket | null)[] {
    return this.#resources.child.stdio as unknown as (Socket | null)[]
  }

  /** Processes, outermost first: bubblewrap, its process 1, QEMU. */
  get processes(): readonly ProcessIdentity[] {
    return this.#processes
  }

  get cgroup(): Cgroup | undefined {
    return this.#resources.cgroup
  }

  /** Waits for the greeting. Throws MayflyError PROTOCOL, and UNAVAILABLE for a release that is too old. */
  async greet(): Promise<void> {
    const { readyMsMax = READY_MS_MAX, onEvent } = this.#parts
    const socket = this.#resources.child.stdio[machineFds.control] as Socket
    this.#control = await openQmp(socket, {
      answerMsMax: readyMsMax,
      ...(onEvent && { onEvent }),
    })
    this.#version = await this.#control.greeted
    const { major, minor } = this.#version
    if (
      major < oldestVersion.major ||
      (major === oldestVersion.major && minor < oldestVersion.minor)
    )
      throw new MayflyError('UNAVAILABLE', `Cannot use QEMU ${major}.${minor}: it is too old`, {
        hint: `Install QEMU ${oldestVersion.major}.${oldestVersion.minor} or newer`,
      })
    const { pid } = this.#resources.child
    if (pid === undefined) return
    this.#processes = [pid, ...belowOf(pid)].map((one) => identify(one))
    this.#lease()
  }

  /** Asks it to quit, and kills it where it does not in time. Resolves with its end. */
  async stop(): Promise<MachineEnd> {
    this.control.ask('quit', undefined, { msMax: QUIT_MS_MAX }).catch(() => this.kill())
    const late = setTimeout(() => this.kill(), QUIT_MS_MAX)
    try {
      return await this.ended
    } finally {
      clearTimeout(late)
    }
  }

  /** Stops the guest's processor; QEMU itself runs on, and answers. */
  async freeze(): Promise<void> {
    await this.control.ask('stop')
  }

  async thaw(): Promise<void> {
    await this.control.ask('cont')
  }

  memory(): number {
    const { cgroup } = this.#resources
    return cgroup ? memoryIn(cgroup) : anonymousBytes(this.#processes.at(-1)!.pid)
  }

  /** SIGKILL for every process of it. Idempotent. */
  kill(): void {
    const { cgroup, child } = this.#resources
    for (const { pid, startTime } of this.#processes.toReversed())
      if (isAlive(pid, startTime)) signalAll([pid], 'SIGKILL')
    signalAll(membersOf(cgroup), 'SIGKILL')
    // A killed task runs no further user instruction, but a task throttled by its CFS quota takes seconds to exit.
    cgroup?.liftCpuQuota()
    child.kill('SIGKILL')
  }

  /** Kills it and releases all that it holds; see `releaseOnceGone`. Idempotent. */
  release(): Promise<void> {
    this.#released ??= this.#release()
    return this.#released
  }

  /** Error of a start that failed, with what QEMU said. */
  failed(cause: unknown): unknown {
    const said = this.#resources.complaint().trim()
    const isOwn = cause instanceof MayflyError && cause.code !== 'PROTOCOL'
    if (isOwn || said === '') return cause
    const line = saidByMachine(said.split('\n')[0]!)
    const message = `Cannot start a machine: ${line}`
    return new MayflyError('UNAVAILABLE', message, { cause, detail: said })
  }

  async #release(): Promise<void> {
    this.kill()
    this.#control?.close()
    this.channel.destroy()
    this.#streams[machineFds.job]?.destroy()
    const { id, slot, cgroup } = this.#resources
    await releaseOnceGone(
      { id, slot, cgroup, processes: this.#processes },
      {
        removeFolder: () => removeWallFolder(id),
        releaseLease: (of) => this.#host.releaseLease(of),
        killRest: () => signalAll(membersOf(cgroup), 'SIGKILL'),
      },
    )
  }

  #lease(): void {
    const { id, cgroup } = this.#resources
    this.#host.lease(id, remainsOf(this.#processes, cgroup?.name ?? null))
  }
}

/** Takes a uid, a cgroup and a folder, and forks. Releases all of them before it throws. */
function spawnMachine(parts: MachineStart, host: MachineHost): QemuProcess {
  const { spec, program, programs, files, words = [] } = parts
  const args = [...machineArguments(spec), ...words]
  const slot = host.isRoot ? freeSlot() : undefined
  const id = `w${randomBytes(8).toString('hex')}`
  let cgroup: Cgroup | undefined
  let kvm: number | undefined
  try {
    const folder = makeMachineFolder(id, slot?.uid, spec)
    cgroup = boundedGroup(id, spec, host.cgroups)
    // Before the fork: from here on a sweep finds the folder and the members of the cgroup.
    host.lease(id, remainsOf([], cgroup?.name ?? null))
    kvm = spec.accelerator === 'kvm' ? openKvm() : undefined
    const fileBytesMax = (spec.memoryMiB + FILE_MIB) * MIB
    const filterFd = machineFds.filter
    const jail = { program, files, own: folder, uid: slot?.uid, fileBytesMax, filterFd }
    const command = jailCommand(jail, programs, args)
    const child = startChild(shell, entering(cgroup?.entryFiles() ?? [], command), {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe', kvm ?? 'ignore', 'pipe'],
    })
    giveFilter(child, spec.accelerator)
    const complaint = listenTo(child)
    return new QemuProcess({ id, slot, cgroup, child, complaint }, parts, host)
  } catch (error) {
    cgroup?.remove()
    void removeWallFolder(id)
    host.releaseLease(id)
    slot?.release()
    throw error
  } finally {
    if (kvm !== undefined) closeSync(kvm)
  }
}

/** Bubblewrap reads it to its end before it starts QEMU; one that dies first leaves an EPIPE. */
function giveFilter(child: SpawnedChild, accelerator: MachineSpec['accelerator']): void {
  const stdio = child.stdio as unknown as readonly Socket[]
  const to = stdio[machineFds.filter]!
  to.on('error', () => undefined)
  to.end(machineFilter(accelerator))
}

/** Throws EEXIST if another user made it: /tmp is world-writable. The memory of a template is sparse. */
function makeMachineFolder(id: string, uid: number | undefined, spec: MachineSpec): string {
  const folder = wallFolder(id)
  mkdirSync(folder, { mode: 0o700 })
  if (spec.memory === 'shared') {
    const file = path.join(folder, 'memory')
    const fd = openSync(file, 'wx', 0o600)
    ftruncateSync(fd, spec.memoryMiB * MIB)
    closeSync(fd)
    if (uid !== undefined) chownSync(file, uid, uid)
  }
  if (uid !== undefined) chownSync(folder, uid, uid)
  return folder
}

function boundedGroup(id: string, { memoryMiB }: MachineSpec, cgroups: CgroupRoot | undefined) {
  const cgroup = cgroups?.create(id)
  cgroup?.limit({ memory: (memoryMiB + OWN_MIB) * MIB })
  if (cgroup?.controllers.includes('pids')) cgroup.limit({ pids: TASKS_MAX })
  return cgroup
}

function openKvm(): number {
  try {
    return openSync(KVM, constants.O_RDWR)
  } catch (cause) {
    throw new MayflyError('UNAVAILABLE', `Cannot open "${KVM}"`, { cause })
  }
}

/** Members of a group that may be gone. */
function membersOf(cgroup: Cgroup | undefined): readonly number[] {
  try {
    return cgroup?.processes() ?? []
  } catch {
    return []
  }
}

async function endOf({ child, complaint }: MachineResources): Promise<MachineEnd> {
  if (child.exitCode === null && child.signalCode === null)
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
  return { exitCode: child.exitCode, signal: child.signalCode, said: complaint() }
}
