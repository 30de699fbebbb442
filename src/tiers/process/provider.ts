import type { Control } from '../../contract/controls.ts'
import type { Language } from '../../contract/job.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Availability, Provider } from '../../contract/provider.ts'
import { newId } from '../../lib/id.ts'
import type { GuestKind } from '../../walls/guest-kind.ts'
import { FramedSandbox } from '../../walls/framed-sandbox.ts'
import type { OpenFolders } from '../../walls/folder-calls.ts'
import { detectBy } from '../../walls/worker-claim.ts'
import { cellGuest } from '../../walls/worker-guest.ts'
import { claimProgram, type ClaimedProgram } from '../../walls/program-claim.ts'
import { probe } from './detect.ts'
import { cellLanguages, isCell, ProgramSpares } from '../../walls/program-spares.ts'
import { programGuest, tightenedAlways } from '../../walls/program-guest.ts'
import type { ProgramProviderOptions } from '../../walls/program-provider.ts'
import { hasSentinel } from '../../walls/sentinel-calls.ts'
import type { JailKind } from '../../contract/jail-kind.ts'

export interface ProcessOptions extends ProgramProviderOptions {
  readonly jailKind: JailKind
  /** True to fork no program from a template. */
  readonly fresh?: boolean
  /** Opens granted folders for guests in a realm; without it they get none. */
  readonly openFolders?: OpenFolders
}

/** Controls enforced on every machine that has such a wall. */
const enforced: readonly Control[] = [
  'network',
  'files',
  'cpu',
  'memory',
  'processes',
  'syscalls',
  'capabilities',
]
const can = ['calls', 'files', 'modules', 'artifacts', 'stdin', 'batch', 'trace', 'freeze'] as const
/** Abilities that need other programs and an egress path, processes that can be added to zones, or a root of the wall's own. */
const canWith = {
  programs: ['network', 'session', 'packages'],
  zones: ['program-zones'],
  root: ['image'],
} as const

/**
 * Programs behind a wall of the kernel's own, one process tree a job: strength 3. JavaScript without Node's modules
 * runs in an isolate there, so that it finds the same globals as on every other tier.
 */
export function createProcessProvider(options: ProcessOptions): Provider {
  const spares = new ProgramSpares({ mechanism: options.jailKind, ...options })
  let languages: readonly Language[] = [...cellLanguages, 'node', 'sh', 'bash', 'python']
  /** Layers of the wall; until the proof, those of a complete wall. */
  let layers: readonly string[] = ['empty root']
  let bindsIo = false
  // bubblewrap must exec its program, which would lose a warm interpreter.
  const isForked = options.jailKind === 'embedded' && !options.fresh
  const provider: Provider = {
    name: options.jailKind,
    tier: 'process',
    get languages() {
      return languages
    },
    get enforces() {
      return [...enforced, ...bounded()]
    },
    /** With a sentinel also files and system calls: it answers those classes that a phase of the life closes. */
    get tightens() {
      return [
        ...tightenedAlways,
        ...bounded(),
        ...(isWatched() ? (['files', 'syscalls'] as const) : []),
      ]
    },
    get can() {
      return [
        ...can,
        ...(hasRoot() || isKept() ? canWith.programs : []),
        ...(hasRoot() || (isKept() && layers.includes('memory cgroup')) ? canWith.zones : []),
        ...(hasRoot() ? canWith.root : []),
        ...(options.openFolders ? (['folder-calls'] as const) : []),
        ...(isWatched() ? (['capture-memory'] as const) : []),
      ]
    },
    detect: detectBy(prove),
    async launch(profile, _clock, hints) {
      const { warden, emitter } = options
      const claimed = await claimProgram(spares, warden, profile, hints)
      const { wall, pool } = claimed
      const guest = guestOf(profile, claimed, { ...options, bounded: bounded() })
      if (!isCell(profile.language) && hasSentinel(wall.wall)) layers = wall.wall.layers
      const parts = { provider: provider.name, profile, wall, warden, emitter, pool }
      return new FramedSandbox(newId('sbx'), parts, guest)
    },
    keep: (language, image, count) => spares.keep(language, image, count),
    close: () => spares.close(),
  }

  async function prove(): Promise<Availability> {
    const found = await probe(provider, spares, options.warden, isForked)
    layers = found.layers
    bindsIo = found.bindsIo
    languages = languages.filter((language) => !found.without.includes(language))
    return found.availability
  }

  /** Controls that a control group bounds, at the start and while a guest runs. */
  const bounded = () => (bindsIo ? (['io'] as const) : [])
  const isWatched = () => layers.includes('sentinel')
  const hasRoot = () => layers.includes('empty root')
  /** A keeper marks its processes by a resource limit that a zone without a control group would need. */
  const isKept = () => layers.includes('keeper')

  return provider
}

function guestOf(
  profile: Profile,
  { held, listener }: ClaimedProgram,
  options: ProcessOptions & { readonly bounded: readonly Control[] },
): GuestKind {
  const { openEgressPath, openFolders, bounded } = options
  if (!isCell(profile.language))
    return programGuest({ held, listener, openEgressPath, tightens: bounded })
  const path = { openEgressPath, ...(openFolders && { openFolders }) }
  return cellGuest(profile, { ...path, tightens: [...tightenedAlways, ...bounded] })
}
