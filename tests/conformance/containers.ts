import type { Language } from '../../src/contract/job.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { createContainerProvider } from '../../src/tiers/container/provider.ts'
import { inLanguage, makeProgramWalls, type EgressOf } from './program-walls.ts'
import type { Made } from './stand.ts'

/** Walls of an engine's containers, for one of their languages, with a warden in this process and a state folder of its own. */
export async function makeContainers(
  options: Partial<WardenOptions>,
  language: Language,
  egressParts?: EgressOf,
  name: 'podman' | 'docker' = 'podman',
): Promise<Made> {
  const create: Parameters<typeof makeProgramWalls>[0] = (own) => createContainerProvider(name, own)
  return inLanguage(makeProgramWalls(create, options, egressParts), language)
}
