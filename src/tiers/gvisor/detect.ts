import { strengthOf } from '../../contract/tier.ts'
import { detectLanguages } from '../../walls/detected-languages.ts'
import {
  availableBy,
  programProbes,
  versionOnOtherKernel,
  type ProgramProof,
} from '../../walls/program-proof.ts'
import type { ProofParts } from '../../walls/program-provider.ts'
import { spareDiskBytes, usualCalls } from '../../walls/program-spares.ts'

/**
 * Runs a guest of each language to its end. The kernel release that the guest sees proves that the sentry answers its
 * calls and not the host's kernel. Throws if no such wall starts.
 */
export async function prove({ provider, spares }: ProofParts): Promise<ProgramProof> {
  const spec = { language: 'node', disk: spareDiskBytes, calls: usualCalls } as const
  const { wall } = await spares.take(spec, { isShort: true, isRare: true })
  void wall.kill()
  const languages = await detectLanguages((language) =>
    versionOnOtherKernel(provider, programProbes[language]),
  )
  const { without } = languages
  return { availability: availableBy(wall.wall, strengthOf.gvisor, languages), without }
}
