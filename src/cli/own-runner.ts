import type { Assembly } from '../assemble/assemble.ts'
import type { Profile } from '../contract/profile.ts'
import { newJob } from '../job.ts'
import { aloneBecause } from './attachment.ts'
import { provesSentinel, localAsker } from './local-asker.ts'
import { openAssembly } from './open-assembly.ts'
import type { Runner, RunnerOptions } from './runner.ts'

/** Rooms of this process, for one job. */
export async function openOwnRunner({ flags, jobFolders }: RunnerOptions): Promise<Runner> {
  const opened = await openAssembly(flags, 'once', { jobFolders })
  const { assembly } = opened
  return {
    way: 'own',
    about: aloneBecause(),
    async prepare() {
      if (flags.allow) await checkHosts(flags.allow, assembly)
    },
    run(request, packages, { planned, ...caller }) {
      const job = newJob(request, { ...localAsker, packages }, assembly.clock)
      const keep = (profile: Profile) =>
        planned?.({ profile, hasSentinel: provesSentinel(profile, assembly) })
      return assembly.run(job, { ...caller, planned: keep })
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  }
}

/** Checks hosts before the run; DNS names are checked at lookup. */
async function checkHosts(hosts: readonly string[], { config }: Assembly): Promise<void> {
  const { checkAllowed } = await import('./check-allow-flag.ts')
  checkAllowed(hosts, config)
}
