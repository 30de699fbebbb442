import type { Engine, EngineHost, EngineOptions } from '../../../contract/engine.ts'
import { LazyEngine } from '../lazy-engine.ts'
import type { GuestEngineParts } from './start.ts'

/**
 * An engine whose walls are guests with an agent: a kernel of their own, in a process that is jailed itself.
 *
 * Start of a wall: take a guest of its key from the source (`source.ts`), with a runner parked in it; measure. Claim: give its
 * agent a seed, the time and limits, and bound the cgroup. End: the runner exits and the carrier has delivered everything,
 * or the warden kills the process; either way the guest ends with it.
 *
 * The word of a guest (its exit code, its processes) is used for display and for how a job is told. Memory, CPU time and the end
 * of a wall come from this machine's kernel. Bytes of the job flow to the server on a socket pair.
 *
 * Relies on the images of the store. Not handled here: system calls by the phase of a life, zones inside.
 * `parts` are loaded with the first wall.
 */
export function openGuestEngine(
  name: string,
  parts: () => Promise<GuestEngineParts>,
  {
    options,
    host,
    sweep,
  }: {
    readonly options: EngineOptions
    readonly host: EngineHost
    /** Removes remains of dead wardens; by default processes, cgroups and folders of walls. */
    readonly sweep?: Engine['sweep']
  },
): Engine {
  const load = async () => {
    const [{ GuestStarter }, loaded] = await Promise.all([import('./start.ts'), parts()])
    return new GuestStarter(loaded, options, host)
  }
  return new LazyEngine(name, load, sweep)
}
