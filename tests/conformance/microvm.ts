import type { Language } from '../../src/contract/job.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { createQemuProvider } from '../../src/tiers/microvm/provider.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { inLanguage, makeProgramWalls, type EgressOf } from './program-walls.ts'
import type { Made } from './stand.ts'

const found = await machineState()

/** Reason why no machine can be had here, or undefined. */
export const noMachines = isQemuThere() ? whyNoImages() : noQemu

/** Reason why there are no images here, or undefined. */
export function whyNoImages(): string | undefined {
  return 'missing' in found ? found.missing : undefined
}

/** Walls of the microvm tier, for one of its languages, with a warden in this process and leases of its own. */
export async function makeMicroVm(
  options: Partial<WardenOptions>,
  language: Language,
  egressParts?: EgressOf,
): Promise<Made> {
  return await makeOwnKernelWalls(createQemuProvider, options, { language, egressParts })
}

/** The same for a provider whose programs have kernels of their own. */
export async function makeOwnKernelWalls(
  create: typeof createQemuProvider,
  options: Partial<WardenOptions>,
  {
    language,
    egressParts,
  }: { readonly language: Language; readonly egressParts?: EgressOf | undefined },
): Promise<Made> {
  if ('missing' in found) throw new Error(found.missing)
  const { provider, close } = inLanguage(
    makeProgramWalls(create, { imageState: found.state, ...options }, egressParts),
    language,
  )
  return {
    provider,
    async close() {
      await provider.close?.()
      await close()
    },
  }
}
