import { messageOf } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import { strengthOf } from '../contract/tier.ts'
import {
  availableBy,
  programProbes,
  versionOnOtherKernel,
  type ProgramProof,
} from './program-proof.ts'
import type { ProofParts } from './program-provider.ts'

/** Limit of one probe, under emulation on a machine that is busy with other boots. */
const LIFE_MS_MAX = 60_000
const probeTerms = { lifeMsMax: LIFE_MS_MAX, isRare: true } as const
type Program = keyof typeof programProbes

/** Languages of each image: that of Node has a shell too. */
const languagesOf: Readonly<Record<Program, readonly Language[]>> = {
  node: ['node', 'sh'],
  python: ['python'],
}

/**
 * Boots a guest of each image and runs a guest in it to its end. The kernel release that the guest sees proves that its
 * kernel is not this one. Throws the error of the first image if no machine boots.
 */
export async function proveOwnKernel({ provider, lastWall }: ProofParts): Promise<ProgramProof> {
  const names = Object.keys(programProbes) as readonly Program[]
  const probes = names.map((name) => ({ ...programProbes[name], ...probeTerms }))
  const found = await Promise.allSettled(
    probes.map((probe) => versionOnOtherKernel(provider, probe)),
  )
  const failed = found.flatMap((one, index) =>
    one.status === 'rejected' ? [{ name: names[index]!, why: one.reason as unknown }] : [],
  )
  const wall = lastWall()
  if (!wall || failed.length === names.length) throw failed[0]?.why
  const missing = failed.map(({ name, why }) => `${name}: ${messageOf(why)}`)
  const features = found.flatMap((one, index) =>
    one.status === 'fulfilled' ? [`${names[index]!} ${one.value}`] : [],
  )
  return {
    availability: availableBy(wall, strengthOf[provider.tier], { missing, features }),
    without: failed.flatMap(({ name }) => languagesOf[name]),
  }
}
