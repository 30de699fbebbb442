import { MayflyError } from '../../contract/error.ts'
import { strengthOf } from '../../contract/tier.ts'
import { detectLanguages } from '../../walls/detected-languages.ts'
import {
  availableBy,
  programProbes,
  versionBy,
  type ProgramProof,
} from '../../walls/program-proof.ts'
import type { ProofParts } from '../../walls/program-provider.ts'
import { assertJailed } from '../../walls/proof.ts'
import { spareDiskBytes, usualCalls } from '../../walls/program-spares.ts'
import { probeTenant } from '../../walls/worker-spares.ts'

/** Bounds of a probe wall that never gets a job: only the mechanisms that enforce them matter. */
const bounds = { tenant: probeTenant, memory: 2 ** 27, deadline: 5_000, processes: 16 } as const

/**
 * Starts a container, has its program probe the calls that the filter forbids, bounds it, and runs a guest of each
 * language to its end. Throws if no such wall starts, or if its number of processes is not bounded.
 */
export async function prove({ provider, spares, warden }: ProofParts): Promise<ProgramProof> {
  const spec = { language: 'node', disk: spareDiskBytes, calls: usualCalls } as const
  const { wall } = await spares.take(spec, { isShort: true, isRare: true })
  try {
    await assertJailed(wall)
    const { enforced } = await warden.claim(wall.wall.id, bounds)
    if (enforced.processes === 'none')
      throw new MayflyError(
        'NO_JAIL',
        'Cannot use containers: their number of processes is not bounded',
      )
  } finally {
    void wall.kill()
  }
  const languages = await detectLanguages((language) =>
    versionBy(provider, programProbes[language]),
  )
  const { without } = languages
  return { availability: availableBy(wall.wall, strengthOf.container, languages), without }
}
