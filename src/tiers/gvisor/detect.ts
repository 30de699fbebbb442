import { strengthOf } from '../../contract/tier.ts'
import {
  availableBy,
  detectLanguages,
  probeWall,
  versionOnOtherKernel,
  type ProgramProof,
} from '../../walls/program-proof.ts'
import type { ProofParts } from '../../walls/program-provider.ts'

/**
 * Runs a guest of each language to its end. The kernel release that the guest sees proves that the sentry answers its
 * calls and not the host's kernel. Throws if no such wall starts.
 */
export async function prove({ provider, spares }: ProofParts): Promise<ProgramProof> {
  const { wall } = await probeWall(spares, () => Promise.resolve())
  const languages = await detectLanguages(provider, versionOnOtherKernel)
  const { without } = languages
  return { availability: availableBy(wall, strengthOf.gvisor, languages), without }
}
