import type { Engine, EngineHost, EngineOptions } from '../../../contract/engine.ts'
import { LazyEngine } from '../lazy-engine.ts'

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
  return new LazyEngine('runsc', async () => {
    const { RunscStarter } = await import('./start.ts')
    return new RunscStarter(options, host)
  })
}
