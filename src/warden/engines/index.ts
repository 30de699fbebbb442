import type { EngineName, OpenEngine } from '../../contract/engine.ts'
import type { ProgramName } from '../../contract/warden.ts'
import { openFirecracker } from './firecracker/engine.ts'
import { openDocker, openPodman } from './processes/containers/engine.ts'
import { openProcesses } from './processes/engine.ts'
import { openQemu } from './qemu/engine.ts'
import { openRunsc } from './runsc/engine.ts'
import { openUserKernels } from './user-mode-linux/engine.ts'

/** An engine, the programs that it starts, and the mechanisms by which a request may ask for it. */
interface EngineRow {
  readonly open: OpenEngine
  readonly programs: readonly ProgramName[]
  readonly mechanisms: readonly string[]
  /** True if it starts programs in an image. Another engine would ignore the image's name, and show other files. */
  readonly usesImages?: true
}

/** The engines of this warden, a row each. */
export const engines: Readonly<Record<EngineName, EngineRow>> = {
  processes: {
    open: openProcesses,
    programs: ['isolated-vm', 'wasi', 'analyst', 'node', 'python'],
    mechanisms: ['any', 'embedded', 'bubblewrap'],
    usesImages: true,
  },
  runsc: {
    open: openRunsc,
    programs: ['node', 'python'],
    mechanisms: ['gvisor'],
    usesImages: true,
  },
  podman: { open: openPodman, programs: ['node', 'python'], mechanisms: ['podman'] },
  docker: { open: openDocker, programs: ['node', 'python'], mechanisms: ['docker'] },
  firecracker: {
    open: openFirecracker,
    programs: ['node', 'python'],
    mechanisms: ['firecracker'],
    usesImages: true,
  },
  qemu: {
    open: openQemu,
    programs: ['node', 'python'],
    mechanisms: ['qemu'],
    usesImages: true,
  },
  'user-mode-linux': {
    open: openUserKernels,
    programs: ['node', 'python'],
    mechanisms: ['user-mode-linux'],
    usesImages: true,
  },
}

/** The engine that starts this program by this mechanism; undefined where there is none. */
export function engineFor(program: ProgramName, mechanism: string): EngineName | undefined {
  const found = Object.entries(engines).find(
    ([, { programs, mechanisms }]) => programs.includes(program) && mechanisms.includes(mechanism),
  )
  return found?.[0]
}
