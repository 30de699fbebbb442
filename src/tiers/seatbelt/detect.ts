import { strengthOf } from '../../contract/tier.ts'
import {
  availableBy,
  probeBounds,
  probeWall,
  programProbes,
  versionBy,
  type ProgramProof,
} from '../../walls/program-proof.ts'
import type { ProofParts } from '../../walls/program-provider.ts'
import { assertJailed } from '../../walls/proof.ts'

/**
 * Has a program try a file, a folder, a socket, a child process, a signal and arguments outside of its wall, bounds it, and runs a guest of
 * Node to its end. Throws if no such wall starts, or if one of these is not refused.
 */
export async function prove({ provider, spares, warden }: ProofParts): Promise<ProgramProof> {
  const { wall } = await probeWall(spares, async (probe) => {
    await assertJailed(probe)
    await warden.claim(probe.wall.id, probeBounds)
  })
  const features = [`node ${await versionBy(provider, programProbes.node)}`]
  const availability = availableBy(wall, strengthOf.process, { features, missing: [] })
  return { availability, without: [] }
}
