import type { Control } from '../contract/controls.ts'
import type { Emitter } from '../contract/event.ts'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Ability, Availability, LaunchHints, Provider, Sandbox } from '../contract/provider.ts'
import type { TierName } from '../contract/tier.ts'
import type { Wall } from '../contract/warden.ts'
import { defaultImages } from '../contract/image-reference.ts'
import { newId } from '../lib/id.ts'
import type { WardenClient } from './client.ts'
import type { OpenEgressPath } from './egress-path.ts'
import { FramedSandbox } from './framed-sandbox.ts'
import { claimProgram } from './program-claim.ts'
import { programGuest, tightenedAlways } from './program-guest.ts'
import { ProgramSpares, type ProgramSparesOptions } from './program-spares.ts'
import { unavailable } from './worker-claim.ts'
import { probeOwnKernel } from './own-kernel-probe.ts'

export interface OwnKernelOptions {
  readonly warden: WardenClient
  readonly emitter: Emitter
  readonly warm: ProgramSparesOptions['warm']
  /** Spares of each program: minimum, also without demand, and maximum. */
  readonly least: number
  readonly most: number
  readonly openEgressPath: OpenEgressPath
  /** Bounds that most jobs have; see `ProgramSparesOptions`. */
  readonly usual?: ProgramSparesOptions['usual']
}

const enforces: readonly Control[] = [
  'network',
  'files',
  'memory',
  'processes',
  'capabilities',
  'cpu',
]
const can = [
  'network',
  'files',
  'modules',
  'artifacts',
  'stdin',
  'batch',
  'session',
  'freeze',
  'image',
] as const
/** Image of each language; the runner of Node also starts shells. */
const images = {
  node: defaultImages.node,
  sh: defaultImages.node,
  python: defaultImages.python,
} as const

/**
 * A provider of whole programs, each on a kernel of its own that was booted from an image, with an agent and a carrier in it.
 * `name` is its mechanism for the warden too.
 */
export function createOwnKernelProvider(
  {
    name,
    tier,
    sees = [],
    holds = [],
  }: {
    readonly name: string
    readonly tier: TierName
    /** Abilities beyond those of all such providers. */
    readonly sees?: readonly Ability[]
    /** Controls that it enforces and can close, beyond those of all such providers. */
    readonly holds?: readonly Control[]
  },
  options: OwnKernelOptions,
): Provider {
  const spares = new ProgramSpares({ mechanism: name, closesAny: true, ...options })
  let languages: readonly Language[] = ['node', 'sh', 'python']
  let proved: Promise<Availability> | undefined
  /** Description of the last wall that was claimed. */
  let seen: Wall | undefined
  const provider: Provider & { readonly tier: TierName } = {
    name,
    tier,
    get languages() {
      return languages
    },
    enforces: [...enforces, ...holds],
    tightens: [...tightenedAlways, ...holds],
    can: [...can, ...sees],
    images,
    detect() {
      proved ??= prove()
      return proved
    },
    async launch(profile, _clock, hints) {
      const { sandbox, wall } = await launch(name, profile, options, { spares, hints, holds })
      seen = wall
      return sandbox
    },
    keep: (language, image, count) => spares.keep(language, image, count),
    close: () => spares.close(),
  }

  /** A single attempt: the boot of a machine already has three, and a second proof would take as long again. */
  async function prove(): Promise<Availability> {
    try {
      const found = await probeOwnKernel(provider, () => seen)
      languages = languages.filter((language) => !found.without.includes(language))
      return found.availability
    } catch (error) {
      proved = undefined
      return unavailable(error)
    }
  }

  return provider
}

/**
 * Asserts that the profile's image is a digest from the warden's admission gate, not the placeholder tag of a plan.
 * Throws MayflyError IMAGE_REFUSED.
 */
function assertLookedUp({ image }: Profile): void {
  if (!Object.values<string>(images).includes(image)) return
  throw new MayflyError('IMAGE_REFUSED', `Cannot start in image "${image}": it was not looked up`)
}

async function launch(
  provider: string,
  profile: Profile,
  { warden, emitter, openEgressPath }: OwnKernelOptions,
  {
    spares,
    hints,
    holds,
  }: {
    readonly spares: ProgramSpares
    readonly hints: LaunchHints | undefined
    readonly holds: readonly Control[]
  },
): Promise<{ readonly sandbox: Sandbox; readonly wall: Wall }> {
  assertLookedUp(profile)
  const { wall, pool, held, listener } = await claimProgram(spares, warden, profile, hints)
  const parts = { provider, profile, wall, warden, emitter, pool }
  const guest = programGuest({ held, listener, openEgressPath, tightens: holds })
  return { sandbox: new FramedSandbox(newId('sbx'), parts, guest), wall: wall.wall }
}
