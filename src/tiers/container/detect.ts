import { MayflyError } from '../../contract/error.ts'
import { strengthOf } from '../../contract/tier.ts'
import {
  availableBy,
  detectLanguages,
  probeBounds,
  probeWall,
  versionBy,
  type ProgramProof,
} from '../../walls/program-proof.ts'
import type { ProofParts } from '../../walls/program-provider.ts'
import { assertJailed } from '../../walls/proof.ts'

/**
 * Starts a container, has its program probe the calls that the filter forbids, bounds it, and runs a guest of each
 * language to its end. Throws if no such wall starts, or if its number of processes is not bounded.
 */
export async function prove({ provider, spares, warden }: ProofParts): Promise<ProgramProof> {
  const { wall } = await probeWall(spares, async (probe) => {
    await assertJailed(probe)
    const { enforced } = await warden.claim(probe.wall.id, probeBounds)
    if (enforced.processes === 'none')
      throw new MayflyError(
        'NO_JAIL',
        'Cannot use containers: their number of processes is not bounded',
      )
  })
  const languages = await detectLanguages(provider, versionBy)
  const { without } = languages
  return { availability: availableBy(wall, strengthOf.container, languages), without }
}
