import type { Engine, EngineHost, EngineOptions } from '../../../contract/engine.ts'
import { LazyEngine } from '../lazy-engine.ts'

/**
 * Walls that are containers of runsc: gVisor's kernel in user space (the sentry) answers every system call of the
 * program, so that only the few system calls of the sentry reach the host's kernel, through runsc's own seccomp filter.
 *
 * Start of a wall: take a uid and a cgroup; write an OCI bundle; fork `runsc run` as that uid, with the sockets of the
 * wall donated to the program (`--pass-fd`); wait for the byte that reports that the program is warm; read the pids of
 * the sandbox and the gofer from runsc's state file; write the lease; measure. While the wall lives the engine uses the
 * sentry's control socket (JSON, under a millisecond), not the command line, each start of which takes 20 to 60 ms.
 *
 * Relies on: runsc 20240729 (Debian 13) with the systrap platform and user namespaces; `setpriv` of util-linux. With
 * root or without, runsc is started `--rootless`: a compromised sentry has an ordinary uid in a user namespace.
 * `--attached` sandboxes die with `runsc run` by PR_SET_PDEATHSIG, and `runsc run` dies with the warden in the same
 * way. Not handled here: closing system calls by phase; runsc accepts no filter while it runs.
 */
export function openRunsc(options: EngineOptions, host: EngineHost): Engine {
  return new LazyEngine('runsc', async () => {
    const { RunscStarter } = await import('./start.ts')
    return new RunscStarter(options, host)
  })
}
