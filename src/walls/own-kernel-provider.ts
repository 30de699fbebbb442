import type { Control } from '../contract/controls.ts'
import type { Emitter } from '../contract/event.ts'
import type { Language } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Ability, Availability, LaunchHints, Provider, Sandbox } from '../contract/provider.ts'
import type { TierName } from '../contract/tier.ts'
import type { Wall } from '../contract/warden.ts'
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
] as const

/**
 * A provider of whole programs, each on a kernel of its own that was booted from an image, with an agent and a carrier in it.
 * `name` is its mechanism for the warden too.
 */
export function createOwnKernelProvider(
  {
    name,
    tier,
    sees = [],
  }: {
    readonly name: string
    readonly tier: TierName
    /** Abilities beyond those of all such providers. */
    readonly sees?: readonly Ability[]
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
    enforces,
    tightens: tightenedAlways,
    can: [...can, ...sees],
    detect() {
      proved ??= prove()
      return proved
    },
    async launch(profile, _clock, hints) {
      const { sandbox, wall } = await launch(name, profile, options, { spares, hints })
      seen = wall
      return sandbox
    },
    close: () => spares.close(),
  }

  /** Tried once: a machine has had three tries by then, and a second proof would take as long again. */
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

async function launch(
  provider: string,
  profile: Profile,
  { warden, emitter, openEgressPath }: OwnKernelOptions,
  { spares, hints }: { readonly spares: ProgramSpares; readonly hints: LaunchHints | undefined },
): Promise<{ readonly sandbox: Sandbox; readonly wall: Wall }> {
  const { wall, pool, held, listener } = await claimProgram(spares, warden, profile, hints)
  const parts = { provider, profile, wall, warden, emitter, pool }
  const guest = programGuest({ held, listener, openEgressPath })
  return { sandbox: new FramedSandbox(newId('sbx'), parts, guest), wall: wall.wall }
}
