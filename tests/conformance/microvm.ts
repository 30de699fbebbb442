import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { systemClock } from '../../src/contract/clock.ts'
import type { Language } from '../../src/contract/job.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { makeAuthority } from '../../src/egress/authority.ts'
import { openEgress, type EgressParts } from '../../src/egress/open-egress.ts'
import { createSparePools } from '../../src/pool/spare-pools.ts'
import { createQemuProvider } from '../../src/tiers/microvm/provider.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { machineState } from '../fixtures/machine-images.ts'
import { abilitiesIn, type Made } from './stand.ts'

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
  egressParts?: Pick<EgressParts, 'credentials' | 'dial'>,
): Promise<Made> {
  return await makeOwnKernelWalls(createQemuProvider, options, { language, egressParts })
}

/** The same for a provider whose programs have kernels of their own. */
export async function makeOwnKernelWalls(
  create: typeof createQemuProvider,
  options: Partial<WardenOptions>,
  {
    language,
    egressParts = { credentials: [] },
  }: {
    readonly language: Language
    readonly egressParts?: Pick<EgressParts, 'credentials' | 'dial'> | undefined
  },
): Promise<Made> {
  if ('missing' in found) throw new Error(found.missing)
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-walls-'))
  const images = found.state
  const warden = holdWarden({ stateFolder: join(folder, 'state'), imageState: images, ...options })
  const emitter = { emit() {} }
  const authority = makeAuthority(() => Date.now())
  const stock = createSparePools(systemClock, emitter)
  const provider = create({
    warden,
    emitter,
    warm: (kind) => stock.createPool(kind),
    least: 0,
    most: 2,
    openEgressPath: async (controls, run) =>
      openEgress({ controls, run, emitter, authority, ...egressParts }),
  })
  const can = abilitiesIn(language, provider.can)
  const own = { languages: { value: [language] }, can: { value: can } }
  return {
    provider: Object.defineProperties(provider, own),
    async close() {
      await provider.close?.()
      await warden.close()
      for (const own of [folder, `${folder}-warden`]) rmSync(own, { recursive: true, force: true })
    },
  }
}
