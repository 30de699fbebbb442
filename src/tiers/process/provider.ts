import type { Control } from '../../contract/controls.ts'
import type { Emitter } from '../../contract/event.ts'
import type { Language } from '../../contract/job.ts'
import { MayflyError } from '../../contract/error.ts'
import type { Profile } from '../../contract/profile.ts'
import type { Availability, Provider, Sandbox } from '../../contract/provider.ts'
import { newId } from '../../lib/id.ts'
import type { WardenClient } from '../../walls/client.ts'
import type { WallHandle } from '../../walls/handle.ts'
import type { OpenFolders } from '../../walls/folder-calls.ts'
import type { OpenWayOut } from '../../walls/exit.ts'
import { provedTwice } from '../../walls/worker-claim.ts'
import { WorkerSandbox } from '../../walls/worker-sandbox.ts'
import { claimProgram } from '../../walls/program-claim.ts'
import { probe } from './detect.ts'
import { createRack, programOf, type Rack, type RackOptions } from '../../walls/program-spares.ts'
import { ProgramSandbox, tightenedAlways } from '../../walls/program-sandbox.ts'
import type { JailKind } from '../../contract/jail-kind.ts'

export interface ProcessOptions {
  readonly way: JailKind
  readonly warden: WardenClient
  readonly voice: Emitter
  readonly warm: RackOptions['warm']
  /** Spares of each program: how many while nobody asks, and the most. */
  readonly least: number
  readonly most: number
  readonly openWayOut: OpenWayOut
  /** For what runs in a realm there: without it such a guest has no folder. */
  readonly openFolders?: OpenFolders
}

/** On every machine that has such a wall. */
const enforced: readonly Control[] = [
  'network',
  'files',
  'cpu',
  'memory',
  'processes',
  'syscalls',
  'capabilities',
]
const can = [
  'network',
  'calls',
  'files',
  'modules',
  'artifacts',
  'stdin',
  'batch',
  'trace',
  'freeze',
  'program-zones',
  'packages',
] as const
const JS: readonly Language[] = ['js', 'ts']

/**
 * Programs behind a wall of the kernel's own, one process tree a job: strength 3. JavaScript without Node's modules
 * runs in an isolate there, so that it finds the same globals as on every other tier.
 */
export function createProcessProvider(options: ProcessOptions): Provider {
  const rack = createRack(options)
  let languages: readonly Language[] = [...JS, 'node', 'sh', 'bash', 'python']
  let isWatched = false
  let bindsIo = false
  let proved: Promise<Availability> | undefined
  const provider: Provider = {
    name: options.way,
    tier: 'process',
    get languages() {
      return languages
    },
    get enforces() {
      return bindsIo ? [...enforced, 'io' as const] : enforced
    },
    /** Files and calls where there is a sentinel: a wall has it asked about them when its life closes some. */
    get tightens() {
      return [...tightenedAlways, ...(isWatched ? (['files', 'syscalls'] as const) : [])]
    },
    get can() {
      return [
        ...can,
        ...(options.openFolders ? (['folder-calls'] as const) : []),
        ...(isWatched ? (['capture-memory'] as const) : []),
      ]
    },
    detect() {
      proved ??= provedTwice(prove)
      return proved
    },
    async launch(profile) {
      const sandbox = await launch(provider.name, profile, options, rack)
      isWatched ||= sandbox instanceof ProgramSandbox && sandbox.isWatched
      return sandbox
    },
    close: () => rack.close(),
  }

  async function prove(): Promise<Availability> {
    const found = await probe(provider, rack, options.warden)
    isWatched = found.isWatched
    bindsIo = found.bindsIo
    languages = languages.filter((language) => !found.without.includes(language))
    return found.availability
  }

  return provider
}

async function launch(
  provider: string,
  profile: Profile,
  options: ProcessOptions,
  rack: Rack,
): Promise<Sandbox> {
  const { warden, voice } = options
  const { wall, pool, held, listener } = await claimProgram(rack, warden, profile)
  if (programOf(profile.language) === 'isolated-vm') {
    const give = (worker: WallHandle) => void worker.kill()
    const settings = isolateSettings(profile)
    const parts = {
      provider,
      profile,
      wall,
      warden,
      voice,
      pool,
      give,
      settings,
      isWhole: true,
      openWayOut: options.openWayOut,
      ...(options.openFolders && { openFolders: options.openFolders }),
      tightens: tightenedAlways,
    }
    return new WorkerSandbox(newId('sbx'), parts)
  }
  if (!wall.streams) {
    void wall.kill()
    throw new MayflyError('PROTOCOL', `Cannot use wall "${wall.wall.id}": it came without streams`)
  }
  const { openWayOut } = options
  const parts = { provider, profile, wall, warden, voice, pool, held, listener, openWayOut }
  return new ProgramSandbox(newId('sbx'), parts)
}

function isolateSettings({ controls }: Profile) {
  return {
    memoryMiB: Math.max(8, Math.round(controls.memory / 2 ** 20)),
    webAssembly: controls.capabilities !== 'any' && controls.capabilities.includes('webassembly'),
  }
}
