import type { Control } from '../../contract/controls.ts'
import type { Emitter } from '../../contract/event.ts'
import { MayflyError } from '../../contract/error.ts'
import type { Language } from '../../contract/job.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Availability, Provider, Sandbox, LaunchHints } from '../../contract/provider.ts'
import { newId } from '../../lib/id.ts'
import type { WardenClient } from '../../walls/client.ts'
import type { OpenEgressPath } from '../../walls/egress-path.ts'
import { FramedSandbox } from '../../walls/framed-sandbox.ts'
import { claimProgram } from '../../walls/program-claim.ts'
import { programGuest, tightenedAlways } from '../../walls/program-guest.ts'
import { ProgramSpares, type ProgramSparesOptions } from '../../walls/program-spares.ts'
import { provedTwice } from '../../walls/worker-claim.ts'
import { probe } from './detect.ts'

export interface ContainerOptions {
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
  'packages',
] as const

/** Whole programs in containers of an installed engine, `podman` or `docker`: strength 3. */
export function createContainerProvider(name: string, options: ContainerOptions): Provider {
  const spares = new ProgramSpares({ mechanism: name, ...options })
  let languages: readonly Language[] = ['node', 'sh', 'bash', 'python']
  let proved: Promise<Availability> | undefined
  const provider: Provider = {
    name,
    tier: 'container',
    get languages() {
      return languages
    },
    enforces,
    tightens: tightenedAlways,
    can,
    detect() {
      proved ??= provedTwice(prove)
      return proved
    },
    launch: (profile, _clock, hints) => launch(name, profile, options, { spares, hints }),
    keep: (language, image, count) => spares.keep(language, image, count),
    close: () => spares.close(),
  }

  async function prove(): Promise<Availability> {
    const found = await probe(provider, spares, options.warden)
    languages = languages.filter((language) => !found.without.includes(language))
    return found.availability
  }

  return provider
}

async function launch(
  provider: string,
  profile: Profile,
  { warden, emitter, openEgressPath }: ContainerOptions,
  { spares, hints }: { readonly spares: ProgramSpares; readonly hints: LaunchHints | undefined },
): Promise<Sandbox> {
  const { wall, pool, held, listener } = await claimProgram(spares, warden, profile, hints)
  if (!wall.streams) {
    void wall.kill()
    throw new MayflyError(
      'PROTOCOL',
      `Cannot use wall "${wall.wall.id}": its output sockets are missing`,
    )
  }
  const parts = { provider, profile, wall, warden, emitter, pool }
  return new FramedSandbox(newId('sbx'), parts, programGuest({ held, listener, openEgressPath }))
}
