import type {
  DeadEnclosure,
  Enclosure,
  EnclosureSpec,
  Engine,
  EngineFacts,
  EngineHost,
  EngineOptions,
} from '../../../contract/engine.ts'
import { closing, noJail } from '../../refusals.ts'
import { sweepDead } from '../sweep.ts'
import type { RunscStarter } from './start.ts'

/**
 * Walls that are containers of runsc: gVisor's kernel in user space (the sentry) answers every system call of the
 * program, so that the host's kernel sees the few calls of the sentry alone, behind runsc's own seccomp filter.
 *
 * Start of a wall: take a uid and a cgroup; write an OCI bundle; fork `runsc run` as that uid, with the sockets of the
 * wall donated to the program (`--pass-fd`); wait for the byte that says that the program is warm; read the pids of the
 * sandbox and the gofer from runsc's state file; lease; measure. While it lives the engine speaks to the sentry's control
 * socket (JSON, under a millisecond) and not by the command line, each start of which takes 20 to 60 ms.
 *
 * Relies on: runsc 20240729 (Debian 13) with the systrap platform and user namespaces; `setpriv` of util-linux. With root
 * or without, runsc is started `--rootless`: a sentry that was broken into is an ordinary uid in a user namespace.
 * `--attached` sandboxes die with `runsc run` by PR_SET_PDEATHSIG, and that one dies with the warden by the same.
 * Not handled here: system calls by the phase of a life; runsc takes no filter while it runs.
 */
export function openRunsc(options: EngineOptions, host: EngineHost): Engine {
  return new RunscEngine(options, host)
}

const sampleEveryMs = 10

class RunscEngine implements Engine {
  readonly name = 'runsc'
  readonly #options: EngineOptions
  readonly #host: EngineHost
  #starter: Promise<RunscStarter> | undefined
  #isClosed = false

  constructor(options: EngineOptions, host: EngineHost) {
    this.#options = options
    this.#host = host
  }

  /** Probes nothing: the warden calls it for each engine before its first wall, and few servers use this one. */
  detect(): EngineFacts {
    return { root: process.getuid?.() === 0, sampleEveryMs }
  }

  async start(spec: EnclosureSpec): Promise<Enclosure> {
    if (process.platform !== 'linux') throw noJail(process.platform)
    this.#starter ??= this.#load()
    const starter = await this.#starter
    if (this.#isClosed) throw closing()
    return await starter.start(spec)
  }

  sweep(dead: readonly DeadEnclosure[]): void {
    sweepDead(dead)
  }

  /** No wall of this engine is without a lease: it is written before the fork. */
  sweepOrphans(): void {}

  async close(): Promise<void> {
    this.#isClosed = true
    await (await this.#starter)?.close()
  }

  async #load(): Promise<RunscStarter> {
    const { RunscStarter: Starter } = await import('./start.ts')
    return new Starter(this.#options, this.#host)
  }
}
