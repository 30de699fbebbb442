import type { Socket } from 'node:net'
import type { EngineHost } from '../../../contract/engine.ts'
import { MayflyError } from '../../../contract/error.ts'
import type { Cgroup, CgroupRoot } from '../../../os/cgroup-interface.ts'
import { identify, isAlive, type ProcessIdentity } from '../../../os/proc.ts'
import { belowOf } from '../../../os/process-tree.ts'
import type { SpawnedChild, SpawnOptions } from '../../../os/spawned-child.ts'
import { listenTo } from '../../readiness.ts'
import { freeSlot, type Slot } from '../../slots.ts'
import { killAll, killLauncher } from '../kill-all.ts'
import { releaseOnceGone } from '../release-once-gone.ts'
import { entering, feedFilter, shell, startChild } from '../spawned.ts'
import { remainsOf } from '../sweep.ts'
import { untilExit } from '../wall-end.ts'
import { newWallId, removeWallFolder } from '../wall-folder.ts'
import type { VmmEnd } from './source.ts'

/**
 * The jailed host process that runs a guest, from its fork to the release of all its resources.
 *
 * Start: allocate a uid (as root) and a cgroup, write the lease, fork, send the seccomp filter. `recordProcesses` then adds the processes
 * of the jail to the lease. Kill: these processes and the members of the cgroup; the jail's pid namespace ends with its
 * process 1. Before they are recorded: the launcher and all below it, since its child may have no parent-death signal yet. Release: see `releaseOnceGone`.
 *
 * Not handled: protocols on its streams, pausing a guest, the end of a job.
 */
export abstract class JailedGuest {
  readonly id: string
  readonly uid: number | undefined
  readonly cgroup: Cgroup | undefined
  /** Resolves when it has exited; never rejects. */
  readonly ended: Promise<VmmEnd>
  /** Host ends of its streams, by descriptor; null once handed over. */
  protected readonly streams: (Socket | null)[]
  /** Last bytes of its standard error; untrusted once a guest runs. */
  protected readonly complaint: () => string
  readonly #forked: ForkedGuest
  readonly #host: GuestHost
  #processes: readonly ProcessIdentity[]
  #released: Promise<void> | undefined

  constructor(forked: ForkedGuest, host: GuestHost) {
    this.id = forked.id
    this.uid = forked.slot?.uid
    this.cgroup = forked.cgroup
    this.streams = forked.child.stdio as unknown as (Socket | null)[]
    this.complaint = forked.complaint
    this.#forked = forked
    this.#host = host
    this.#processes = forked.processes
    this.ended = endOf(forked)
  }

  /** Processes at the time of `recordProcesses`, outermost first: bubblewrap, its process 1, the VMM or kernel. */
  get processes(): readonly ProcessIdentity[] {
    return this.#processes
  }

  /** Adds the processes of the jail to the lease; called once they run. */
  recordProcesses(): void {
    const { child, cgroup } = this.#forked
    if (child.pid === undefined) return
    this.#processes = [child.pid, ...belowOf(child.pid)].map((one) => identify(one))
    this.#host.lease(this.id, remainsOf(this.#processes, cgroup?.name ?? null))
  }

  /** Sends SIGKILL to each of its processes. Idempotent. */
  kill(): void {
    const { cgroup, child } = this.#forked
    const [launcher, ...others] = this.#processes
    if (launcher && others.length === 0 && isAlive(launcher.pid, launcher.startTime))
      killLauncher(launcher.pid)
    killAll(this.#processes.toReversed(), cgroup)
    child.kill('SIGKILL')
  }

  /** Kills it and releases all its resources; see `releaseOnceGone`. Idempotent. */
  release(): Promise<void> {
    this.#released ??= this.#release()
    return this.#released
  }

  /**
   * Hands over an unread stream, which the caller then owns. Callable once per stream. Throws MayflyError NOT_FOUND if the guest
   * has ended.
   */
  protected takeStream(fd: number): Socket {
    const socket = this.streams[fd]
    // Node drains every stream of `stdio` when a child exits, which would lose bytes of a stream that was handed over.
    this.streams[fd] = null
    if (socket && !socket.destroyed) return socket
    throw new MayflyError('NOT_FOUND', `Cannot use guest "${this.id}": its channel is gone`)
  }

  async #release(): Promise<void> {
    this.kill()
    for (const stream of this.streams.slice(STREAMS_FROM)) stream?.destroy()
    await releaseOnceGone(
      { ...this.#forked, processes: this.#processes },
      { releaseLease: (of) => this.#host.releaseLease(of) },
    )
  }
}

/** Parts of the warden and of this machine that the start of a guest needs. */
export interface GuestHost extends Pick<EngineHost, 'lease' | 'releaseLease'> {
  readonly cgroups: CgroupRoot | undefined
  /** True if this process is root and has uids for walls. */
  readonly isRoot: boolean
}

/** A forked guest with its resources. */
export interface ForkedGuest {
  readonly id: string
  readonly slot: Slot | undefined
  readonly cgroup: Cgroup | undefined
  readonly child: SpawnedChild
  readonly processes: readonly ProcessIdentity[]
  readonly complaint: () => string
}

export interface GuestFork {
  readonly command: readonly string[]
  readonly stdio: NonNullable<SpawnOptions['stdio']>
  /** Compiled seccomp filter, and the descriptor from which bubblewrap reads all of it before it execs the program. */
  readonly filter: { readonly fd: number; readonly bytes: Buffer }
}

/** First descriptor behind standard input, output and error. */
const STREAMS_FROM = 3
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Allocates a uid and a cgroup, and forks the command that `plan` returns. Releases all before it throws MayflyError OVERLOADED
 * if no uid or descriptor is left, or another error.
 */
export function forkGuest(
  host: GuestHost,
  bounds: { readonly memoryBytes: number; readonly tasksMax: number },
  plan: (place: { readonly id: string; readonly uid: number | undefined }) => GuestFork,
): ForkedGuest {
  const slot = host.isRoot ? freeSlot() : undefined
  const id = newWallId('w')
  let cgroup: Cgroup | undefined
  let child: SpawnedChild | undefined
  try {
    cgroup = host.cgroups?.create(id)
    cgroup?.limit({ memory: bounds.memoryBytes })
    if (cgroup?.controllers.includes('pids')) cgroup.limit({ pids: bounds.tasksMax })
    // Before the fork, so that a sweep finds the folder and the members of the cgroup at any time.
    host.lease(id, remainsOf([], cgroup?.name ?? null))
    const { command, stdio, filter } = plan({ id, uid: slot?.uid })
    const args = entering(cgroup?.entryFiles() ?? [], command)
    child = startChild(shell, args, { env: { PATH }, stdio })
    feedFilter(child, filter.fd, filter.bytes)
    const processes = child.pid === undefined ? [] : [identify(child.pid)]
    host.lease(id, remainsOf(processes, cgroup?.name ?? null))
    return { id, slot, cgroup, child, processes, complaint: listenTo(child) }
  } catch (error) {
    if (child?.pid !== undefined) killLauncher(child.pid)
    cgroup?.remove()
    void removeWallFolder(id)
    host.releaseLease(id)
    slot?.release()
    throw error
  }
}

async function endOf({ child, complaint }: ForkedGuest): Promise<VmmEnd> {
  await untilExit(child)
  return { exitCode: child.exitCode, signal: child.signalCode, said: complaint() }
}
