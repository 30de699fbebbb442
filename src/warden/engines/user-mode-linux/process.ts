import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { isAlive, processFacts, processBytes } from '../../../os/proc.ts'
import { belowOf } from '../../../os/process-tree.ts'
import { signalAll } from '../../../os/signal.ts'
import { forkGuest, JailedGuest, type GuestHost } from '../agent-guest/jailed-guest.ts'
import { memoryIn } from '../group-bounds.ts'
import { kernelFilter, kernelJailCommand } from './jail.ts'
import { agentFd, userKernelArguments, type KernelSpec } from './machine.ts'
import type { KernelJailPrograms, UserKernel } from './program.ts'

/**
 * A user-mode kernel in its jail (`src/warden/engines/agent-guest/jailed-guest.ts`).
 *
 * Start: fork. The serial lines are socket pairs that the kernel inherits: there is no path to connect to, and the guest reads end
 * of file when this process exits. It has no folder on disk. The caller waits for the agent's `hello`; `recordProcesses` then adds the
 * processes of the jail to the lease.
 *
 * Kill: every process of the guest is a host process in the jail's pid namespace, which ends with its process 1; members of the
 * cgroup, and as root all processes of the wall's uid, are killed too.
 *
 * Not handled: the protocols on the lines, the end of a job.
 */
export interface KernelStart {
  readonly kernel: UserKernel
  readonly programs: KernelJailPrograms
  readonly spec: KernelSpec
  readonly initrd: string
  readonly image: string | undefined
}

const MIB = 2 ** 20
/** Memory of the kernel's process itself, with page tables and stubs. */
const OWN_MIB = 64
/** Space in the tmpfs in addition to the guest's memory, for the pid file of the kernel. */
const TMPFS_MIB = 1
/** Limit of host tasks: one per address space in the guest, and those of the jail. */
const TASKS_MAX = 2_048
/** Maximum characters of its error output in a message. */
const LINE_MAX = 300
/** Index of the kernel in the list of processes, after bubblewrap and its process 1. */
const KERNEL_AT = 2
const FREEZE_MS_MAX = 2_000

/** Allocates a uid and a cgroup, and forks. Releases all before it throws MayflyError UNAVAILABLE, OVERLOADED or INVALID. */
export function startUserKernel(parts: KernelStart, host: GuestHost): UserKernelProcess {
  const { spec, kernel, programs, initrd, image } = parts
  const words = userKernelArguments(spec)
  const fd = agentFd + spec.lines + 1
  const filter = { fd, bytes: kernelFilter() }
  const bounds = { memoryBytes: (spec.memoryMiB + OWN_MIB) * MIB, tasksMax: TASKS_MAX }
  const forked = forkGuest(host, bounds, ({ uid }) => {
    const ownBytes = (spec.memoryMiB + TMPFS_MIB) * MIB
    const jail = { kernel, initrd, image, uid, ownBytes, filterFd: fd }
    return {
      command: kernelJailCommand(jail, programs, words),
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', ...Array<'pipe'>(spec.lines + 1).fill('pipe')],
      filter,
    }
  })
  return new UserKernelProcess(forked, host)
}

/** A forked user-mode kernel. */
export class UserKernelProcess extends JailedGuest {
  /** Host end of the agent's line. */
  get channel(): Socket {
    return this.streams[agentFd]!
  }

  /** Host end of the line after the agent's; see `takeStream`. */
  takeJobChannel(): Socket {
    return this.takeStream(agentFd + 1)
  }

  /**
   * Stops the kernel by SIGSTOP, so that it resumes no program, and then each program by SIGALRM: a traced program stops until its
   * tracer handles the signal, and the kernel discards this one later, like those of its own timer. The cgroup v1 freezer would
   * not let killed tasks exit. Resolves once all tasks have stopped; throws MayflyError UNAVAILABLE after 2 s.
   */
  async freeze(): Promise<void> {
    const kernel = this.kernelPid
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
    signalAll([this.kernelPid], 'SIGCONT')
  }

  /** The guest's memory is shared memory of the kernel's process. */
  memory(): number {
    return this.cgroup ? memoryIn(this.cgroup) : processBytes(this.kernelPid)
  }

  /** Throws MayflyError NOT_FOUND once it has ended. */
  get kernelPid(): number {
    const found = this.processes[KERNEL_AT]
    if (found && isAlive(found.pid, found.startTime)) return found.pid
    throw new MayflyError('NOT_FOUND', `Cannot stop guest "${this.id}": it has ended`)
  }

  /** Error of a failed start, with the output of the kernel: untrusted once a guest runs, so truncated and sanitised. */
  startError(cause: unknown): MayflyError {
    const detail = this.complaint()
    const lines = detail.split('\n').map((line) => line.replaceAll(/[^\x20-\x7e]/g, '').trim())
    const said = lines.find((line) => /panic|cannot|can't|failed|error/i.test(line)) ?? ''
    const why = said === '' ? messageOf(cause) : said.slice(0, LINE_MAX)
    return new MayflyError('UNAVAILABLE', `Cannot start a user-mode kernel: ${why}`, {
      cause,
      detail,
    })
  }
}

/** True if a process does not run; also for a zombie, and if it has exited. */
function hasStopped(pid: number): boolean {
  return !'RSD'.includes(processFacts(pid)?.state ?? 'X')
}

async function untilSo(isSo: () => boolean): Promise<void> {
  const until = performance.now() + FREEZE_MS_MAX
  while (!isSo()) {
    if (performance.now() > until)
      throw new MayflyError(
        'UNAVAILABLE',
        `Cannot freeze a guest: it still runs after ${FREEZE_MS_MAX} ms`,
      )
    await sleep(1)
  }
}
