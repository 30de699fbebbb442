import type { Control } from '../../contract/controls.ts'
import type { Emitter } from '../../contract/event.ts'
import type { Language } from '../../contract/job.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Availability, LaunchHints, Provider, Sandbox } from '../../contract/provider.ts'
import type { Wall } from '../../contract/warden.ts'
import { newId } from '../../lib/id.ts'
import type { WardenClient } from '../../walls/client.ts'
import type { OpenEgressPath } from '../../walls/egress-path.ts'
import { FramedSandbox } from '../../walls/framed-sandbox.ts'
import { claimProgram } from '../../walls/program-claim.ts'
import { programGuest, tightenedAlways } from '../../walls/program-guest.ts'
import { ProgramSpares, type ProgramSparesOptions } from '../../walls/program-spares.ts'
import { unavailable } from '../../walls/worker-claim.ts'
import { probe } from './detect.ts'

export interface MicroVmOptions {
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

/** Whole programs, each on a kernel of its own in a virtual machine of QEMU: strength 5. */
export function createQemuProvider(options: MicroVmOptions): Provider {
  const name = 'qemu'
  const spares = new ProgramSpares({ mechanism: name, ...options })
  let languages: readonly Language[] = ['node', 'sh', 'python']
  let proved: Promise<Availability> | undefined
  /** Description of the last wall that was claimed. */
  let seen: Wall | undefined
  const provider: Provider = {
    name,
    tier: 'microvm',
    get languages() {
      return languages
    },
    enforces,
    tightens: tightenedAlways,
    can,
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
      const found = await probe(provider, () => seen)
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
  { warden, emitter, openEgressPath }: MicroVmOptions,
  { spares, hints }: { readonly spares: ProgramSpares; readonly hints: LaunchHints | undefined },
): Promise<{ readonly sandbox: Sandbox; readonly wall: Wall }> {
  const { wall, pool, held, listener } = await claimProgram(spares, warden, profile, hints)
  const parts = { provider, profile, wall, warden, emitter, pool }
  const guest = programGuest({ held, listener, openEgressPath })
  return { sandbox: new FramedSandbox(newId('sbx'), parts, guest), wall: wall.wall }
}
