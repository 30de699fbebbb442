import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Remains } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { Cgroup, CgroupRoot } from '../../../os/cgroup-interface.ts'
import {
  identify,
  isAlive,
  processFacts,
  residentBytes,
  type ProcessIdentity,
} from '../../../os/proc.ts'
import { belowOf } from '../../../os/process-tree.ts'
import { signalAll } from '../../../os/signal.ts'
import type { SpawnedChild } from '../../../os/spawned-child.ts'
import { listenTo } from '../../readiness.ts'
import { freeSlot, type Slot } from '../../slots.ts'
import { releaseOnceGone } from '../release-once-gone.ts'
import { entering, shell, startChild } from '../spawned.ts'
import { memoryIn } from '../agent-guest/measure.ts'
import { remainsOf } from '../sweep.ts'
import { kernelFilter, kernelJailCommand } from './jail.ts'
import { agentFd, userKernelWords, type KernelSpec } from './machine.ts'
import type { KernelJailPrograms, UserKernel } from './program.ts'

/**
 * A user-mode kernel in its jail, from its fork to the release of all that it holds.
 *
 * Start: take a uid (as root) and a cgroup, write the lease, fork. The serial lines are socket pairs that the kernel
 * inherits: no path leads to them, and the end of this process is an end of file in the guest. There is no folder on a disk.
 * The agent's `hello` is for the caller to await; `found` then names the processes of the jail in the lease.
 *
 * Kill: every process of the guest is a host process in the jail's pid namespace, which dies with its process 1; those that
 * joined the cgroup are killed by it as well, and as root those of the wall's uid.
 *
 * Does not handle: what is said on a line, the end of a job.
 */
export interface KernelStart {
  readonly kernel: UserKernel
  readonly programs: KernelJailPrograms
  readonly spec: KernelSpec
  readonly initrd: string
  readonly image: string | undefined
}

/** The warden and this machine, as a start needs them. */
export interface KernelHost {
  readonly cgroups: CgroupRoot | undefined
  /** Root with uids for walls. */
  readonly isRoot: boolean
  lease(id: string, remains: Remains): void
  releaseLease(id: string): void
}

export interface KernelEnd {
  /** 0 after a power-off by the guest. */
  readonly exitCode: number | null
  readonly signal: string | null
  /** Last bytes of its standard error, unread. */
  readonly said: string
}

const MIB = 2 ** 20
/** Memory of the kernel's process beside that of its guest, with page tables and stubs. */
const OWN_MIB = 64
/** Room in the tmpfs beside the guest's memory, for the file with the kernel's pid. */
const TMPFS_MIB = 1
/** Host tasks: one for each address space in the guest, and those of the jail. */
const TASKS_MAX = 2_048
/** Longest part of a complaint that becomes a message. */
const LINE_MAX = 300
/** Place of the kernel among the processes, behind bubblewrap and its process 1. */
const KERNEL_AT = 2
const FREEZE_MS_MAX = 2_000

interface KernelResources {
  readonly id: string
  readonly slot: Slot | undefined
  readonly cgroup: Cgroup | undefined
  readonly child: SpawnedChild
  readonly complaint: () => string
}

/** Takes a uid and a cgroup, and forks. Releases all before it throws MayflyError UNAVAILABLE, OVERLOADED or INVALID. */
export function startUserKernel(parts: KernelStart, host: KernelHost): UserKernelProcess {
  const { spec, kernel, programs, initrd, image } = parts
  const words = userKernelWords(spec)
  const filter = kernelFilter()
  const slot = host.isRoot ? freeSlot() : undefined
  const id = `w${randomBytes(8).toString('hex')}`
  const filterFd = agentFd + spec.lines + 1
  let cgroup: Cgroup | undefined
  try {
    cgroup = boundedGroup(id, spec, host.cgroups)
    // Before the fork: from here on a sweep finds the members of the cgroup.
    host.lease(id, remainsOf([], cgroup?.name ?? null))
    const ownBytes = (spec.memoryMiB + TMPFS_MIB) * MIB
    const jail = { kernel, initrd, image, uid: slot?.uid, ownBytes, filterFd }
    const command = kernelJailCommand(jail, programs, words)
    const child = startChild(shell, entering(cgroup?.entryFiles() ?? [], command), {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', ...Array<'pipe'>(spec.lines + 1).fill('pipe')],
    })
    feed(child, filterFd, filter)
    const resources = { id, slot, cgroup, child, complaint: listenTo(child) }
    return new UserKernelProcess(resources, host)
  } catch (error) {
    cgroup?.remove()
    host.releaseLease(id)
    slot?.release()
    throw error
  }
}

/** A kernel that was forked. */
export class UserKernelProcess {
  readonly id: string
  readonly uid: number | undefined
  /** Resolves after its last instruction; never rejects. */
  readonly ended: Promise<KernelEnd>
  readonly #resources: KernelResources
  readonly #host: KernelHost
  #processes: readonly ProcessIdentity[]
  #released: Promise<void> | undefined

  /** For `startUserKernel`. */
  constructor(resources: KernelResources, host: KernelHost) {
    this.id = resources.id
    this.uid = resources.slot?.uid
    this.#resources = resources
    this.#host = host
    const { pid } = resources.child
    this.#processes = pid === undefined ? [] : [identify(pid)]
    this.ended = endOf(resources)
    this.#lease()
  }

  /** Host end of the agent's line. */
  get channel(): Socket {
    return this.#resources.child.stdio[agentFd] as Socket
  }

  /**
   * Host end of the first line beside the agent's, which the caller then owns; nothing was read from it here. Callable
   * once. Throws MayflyError NOT_FOUND for a kernel that has ended.
   */
  takeJobChannel(): Socket {
    const stdio = this.#resources.child.stdio as unknown as (Socket | null)[]
    const socket = stdio[agentFd + 1]
    // At the end of a child every stream of its `stdio` is read to its end, and bytes of one that was handed over would be lost.
    stdio[agentFd + 1] = null
    if (socket && !socket.destroyed) return socket
    throw new MayflyError('NOT_FOUND', `Cannot use guest "${this.id}": its line is gone`)
  }

  /** Processes that were there when it was ready, outermost first: bubblewrap, its process 1, the kernel, then stubs. */
  get processes(): readonly ProcessIdentity[] {
    return this.#processes
  }

  get cgroup(): Cgroup | undefined {
    return this.#resources.cgroup
  }

  /** Names the processes of the jail in the lease, once the kernel runs. */
  found(): void {
    const { pid } = this.#resources.child
    if (pid === undefined) return
    this.#processes = [pid, ...belowOf(pid)].map((one) => identify(one))
    this.#lease()
  }

  /**
   * Stops the kernel by SIGSTOP, so that it resumes no program, and then each program by a SIGALRM: the tracer has to take it,
   * and drops it later, as it drops those by which it interrupts programs itself. A freezer of version 1 would keep
   * killed tasks. Resolves once no task moves; throws MayflyError UNAVAILABLE after 2 s.
   */
  async freeze(): Promise<void> {
    const kernel = this.#kernelPid
    signalAll([kernel], 'SIGSTOP')
    await untilSo(() => hasStopped(kernel))
    const stubs = belowOf(kernel)
    signalAll(
      stubs.filter((pid) => !hasStopped(pid)),
      'SIGALRM',
    )
    await untilSo(() => stubs.every(hasStopped))
  }

  async thaw(): Promise<void> {
    signalAll([this.#kernelPid], 'SIGCONT')
  }

  /** Memory of the guest is shared memory of the kernel's process. */
  memory(): number {
    const { cgroup } = this.#resources
    return cgroup ? memoryIn(cgroup) : residentBytes(this.#kernelPid)
  }

  get #kernelPid(): number {
    const found = this.#processes[KERNEL_AT]
    if (found && isAlive(found.pid, found.startTime)) return found.pid
    throw new MayflyError('NOT_FOUND', `Cannot stop guest "${this.id}": it has ended`)
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

  /** Error of a start that failed, with what the kernel said: hostile once a guest runs, so bounded and cleaned. */
  failed(cause: unknown): MayflyError {
    const detail = this.#resources.complaint()
    const lines = detail.split('\n').map((line) => line.replaceAll(/[^\x20-\x7e]/g, '').trim())
    const said = lines.find((line) => /panic|cannot|can't|failed|error/i.test(line)) ?? ''
    const why = said === '' ? messageOfCause(cause) : said.slice(0, LINE_MAX)
    return new MayflyError('UNAVAILABLE', `Cannot start a user-mode kernel: ${why}`, {
      cause,
      detail,
    })
  }

  async #release(): Promise<void> {
    this.kill()
    const { id, slot, cgroup, child } = this.#resources
    for (const stream of child.stdio.slice(agentFd)) stream?.destroy()
    await releaseOnceGone(
      { id, slot, cgroup, processes: this.#processes },
      {
        removeFolder: () => Promise.resolve(),
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

/** A zombie and a process that is gone do not move either. */
function hasStopped(pid: number): boolean {
  return !'RSD'.includes(processFacts(pid)?.state ?? 'X')
}

async function untilSo(isSo: () => boolean): Promise<void> {
  const until = performance.now() + FREEZE_MS_MAX
  while (!isSo()) {
    if (performance.now() > until)
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot freeze a guest: it still moves after ${FREEZE_MS_MAX} ms`,
      )
    await sleep(1)
  }
}

function messageOfCause(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

function boundedGroup(id: string, { memoryMiB }: KernelSpec, cgroups: CgroupRoot | undefined) {
  const cgroup = cgroups?.create(id)
  cgroup?.limit({ memory: (memoryMiB + OWN_MIB) * MIB })
  if (cgroup?.controllers.includes('pids')) cgroup.limit({ pids: TASKS_MAX })
  return cgroup
}

/** EPIPE is ignored: the launcher ended before reading it, and its end is reported elsewhere. */
function feed(child: SpawnedChild, fd: number, filter: Buffer): void {
  const pipe = child.stdio[fd] as Socket
  pipe.on('error', () => undefined)
  pipe.end(filter)
}

/** Members of a group that may be gone. */
function membersOf(cgroup: Cgroup | undefined): readonly number[] {
  try {
    return cgroup?.processes() ?? []
  } catch {
    return []
  }
}

async function endOf({ child, complaint }: KernelResources): Promise<KernelEnd> {
  if (child.exitCode === null && child.signalCode === null)
    await new Promise<void>((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
  return { exitCode: child.exitCode, signal: child.signalCode, said: complaint() }
}
