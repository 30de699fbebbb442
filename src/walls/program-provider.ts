import type { Control } from '../contract/controls.ts'
import type { Emitter } from '../contract/event.ts'
import { MayflyError } from '../contract/error.ts'
import type { Language } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import type { Ability, Availability, Provider, Sandbox } from '../contract/provider.ts'
import type { TierName } from '../contract/tier.ts'
import type { Wall } from '../contract/warden.ts'
import { newId } from '../lib/id.ts'
import type { WardenClient } from './client.ts'
import type { OpenEgressPath } from './egress-path.ts'
import { FramedSandbox } from './framed-sandbox.ts'
import type { WallHandle } from './handle.ts'
import { claimForked, claimProgram, type ClaimedProgram } from './program-claim.ts'
import { programGuest, tightenedAlways } from './program-guest.ts'
import { whyNoCells, type ProgramProof } from './program-proof.ts'
import {
  cellLanguages,
  isCell,
  ProgramSpares,
  type ProgramSparesOptions,
} from './program-spares.ts'
import { detectBy } from './worker-claim.ts'
import { cellGuest } from './worker-guest.ts'

export interface ProgramProviderOptions {
  readonly warden: WardenClient
  readonly emitter: Emitter
  readonly warm: ProgramSparesOptions['warm']
  /** Spares of each program: minimum, also without demand, and maximum. */
  readonly least: number
  readonly most: number
  readonly openEgressPath: OpenEgressPath
  /** Usual bounds of jobs; see `ProgramSparesOptions`. */
  readonly usual?: ProgramSparesOptions['usual']
}

/** Differences between one provider of whole programs and the others. */
export interface ProgramProviderKind {
  /** Also the mechanism by which its walls are requested from the warden. */
  readonly name: string
  readonly tier: TierName
  /** Languages until the proof, which removes those that this machine lacks. */
  readonly languages: readonly Language[]
  /** Abilities beyond those of all such providers. */
  readonly can: readonly Ability[]
  /** Abilities of all such providers that it lacks. */
  readonly lacks?: readonly Ability[]
  /** Controls that it enforces and can tighten, beyond those of all such providers. */
  readonly tightens?: readonly Control[]
  readonly images?: Provider['images']
  readonly closesAny?: boolean
  /** Attempts of its proof, 2 by default. */
  readonly proofAttempts?: number
  /** Runs a real guest; throws if no wall starts. */
  prove(parts: ProofParts): Promise<ProgramProof>
}

export interface ProofParts {
  readonly provider: Provider
  readonly spares: ProgramSpares
  readonly warden: WardenClient
  /** Description of the last wall that was claimed. */
  lastWall(): Wall | undefined
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
  'calls',
  'trace',
  'network',
  'files',
  'modules',
  'artifacts',
  'stdin',
  'batch',
  'session',
  'freeze',
] as const satisfies readonly Ability[]

/** The proof with that of cells, which need Node; languages that do not run are left out, with the reason. */
async function withCells(
  provider: Provider,
  { availability, without }: ProgramProof,
): Promise<ProgramProof> {
  const why = without.includes('node') ? 'there is no Node' : await whyNoCells(provider)
  if (why === undefined || !availability.available) return { availability, without }
  const missing = [...availability.missing, `js: ${why}`]
  return {
    availability: { ...availability, missing },
    without: [...without, ...cellLanguages],
  }
}

/** A provider of whole programs: a wall for each job, parked ahead or started for it. */
export function createProgramProvider(
  kind: ProgramProviderKind,
  options: ProgramProviderOptions,
): Provider {
  const { name, tier, images, closesAny, lacks = [], tightens = [] } = kind
  const { warden, emitter, openEgressPath } = options
  const spares = new ProgramSpares({
    mechanism: name,
    ...(closesAny && { closesAny }),
    hasCells: true,
    ...options,
  })
  let languages: readonly Language[] = [...cellLanguages, ...kind.languages]
  let lastWall: Wall | undefined
  const provider: Provider = {
    name,
    tier,
    get languages() {
      return languages
    },
    enforces: [...enforces, ...tightens],
    tightens: [...tightenedAlways, ...tightens],
    can: [...can.filter((one) => !lacks.includes(one)), ...kind.can],
    ...(images && { images }),
    detect: detectBy(prove, kind.proofAttempts),
    async launch(profile, _clock, hints) {
      assertDigest(profile, images)
      const claimed = await claimProgram(spares, warden, profile, hints)
      lastWall = claimed.wall.wall
      return sandboxOf(claimed, profile)
    },
    keep: (language, image, count) => spares.keep(language, image, count),
    close: () => spares.close(),
  }

  function sandboxOf(
    { wall, pool, held, listener }: ClaimedProgram,
    profile: Profile,
    isForked = false,
  ): Sandbox {
    const parts = { provider: name, profile, wall, warden, emitter, pool }
    const launch = async (forked: WallHandle, own: Profile) => {
      const claimed = await claimForked(forked, warden, own)
      return sandboxOf({ wall: forked, pool: 'miss', ...claimed }, own, true)
    }
    const guest = isCell(profile.language)
      ? cellGuest(profile, { openEgressPath, tightens: provider.tightens })
      : programGuest({ held, listener, openEgressPath, tightens, isForked, launch })
    return new FramedSandbox(newId('sbx'), parts, guest)
  }

  async function prove(): Promise<Availability> {
    const proof = await kind.prove({ provider, spares, warden, lastWall: () => lastWall })
    const { availability, without } = await withCells(provider, proof)
    languages = languages.filter((language) => !without.includes(language))
    return availability
  }

  return provider
}

/**
 * Asserts that the profile's image is a digest from the warden's admission gate, not the placeholder tag of a plan.
 * Throws MayflyError IMAGE_REFUSED.
 */
function assertDigest({ image }: Profile, tags: Provider['images'] = {}): void {
  if (!Object.values(tags).includes(image)) return
  throw new MayflyError('IMAGE_REFUSED', `Cannot start in image "${image}": it was not looked up`)
}
