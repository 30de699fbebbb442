import type { Control } from '../contract/controls.ts'
import type { Ability, Provider } from '../contract/provider.ts'
import type { TierName } from '../contract/tier.ts'
import { defaultImages } from '../contract/image-reference.ts'
import { proveOwnKernel } from './own-kernel-probe.ts'
import { createProgramProvider, type ProgramProviderOptions } from './program-provider.ts'

/** Image of each language; the runner of Node also starts shells, and runs `js` in a cell. */
const images = {
  js: defaultImages.node,
  ts: defaultImages.node,
  node: defaultImages.node,
  sh: defaultImages.node,
  python: defaultImages.python,
} as const

/**
 * A provider of whole programs, each on a kernel of its own that was booted from an image, with an agent and a carrier in it.
 * `can` and `tightens`: abilities and controls beyond those of all such providers.
 */
export function createOwnKernelProvider(
  {
    name,
    tier,
    can = [],
    tightens = [],
  }: {
    readonly name: string
    readonly tier: TierName
    readonly can?: readonly Ability[]
    readonly tightens?: readonly Control[]
  },
  options: ProgramProviderOptions,
): Provider {
  const kind = {
    name,
    tier,
    languages: ['node', 'sh', 'python'],
    can: ['image', ...can],
    tightens,
    images,
    closesAny: true,
    // The boot of a machine already has three attempts, and a second proof would take as long again.
    proofAttempts: 1,
    prove: proveOwnKernel,
  } as const
  return createProgramProvider(kind, options)
}
