import type { Engine, EngineHost, EngineOptions } from '../../../contract/engine.ts'
import { LazyEngine } from '../lazy-engine.ts'
import type { GuestEngineParts } from './start.ts'

/**
 * An engine whose walls are guests with a kernel of their own and an agent, in a jailed host process.
 *
 * Start of a wall: take a guest of the requested key, with a parked runner, from the source (`source.ts`), and measure it. Claim:
 * send the agent a seed, the time and limits, and limit the cgroup. End: the runner has exited and the carrier has delivered
 * all output, or the warden kills the process; the guest ends with it in both cases.
 *
 * Reports of a guest (exit code, processes) are used only for display and for the text of an outcome. Memory, CPU time and the
 * end of a wall come from the host's kernel. Data of the job flows to the server on a socket pair.
 *
 * Relies on the images of the store. Not handled here: classes of system calls (`agent-calls.ts`), zones.
 * `parts` is loaded at the first wall.
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
    /** Removes leftovers of dead wardens; by default processes, cgroups and folders of walls. */
    readonly sweep?: Engine['sweep']
  },
): Engine {
  const load = async () => {
    const [{ GuestStarter }, loaded] = await Promise.all([import('./start.ts'), parts()])
    return new GuestStarter(loaded, options, host)
  }
  return new LazyEngine(name, load, sweep)
}
