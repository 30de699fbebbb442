import type {
  Engine,
  EngineHost,
  EngineName,
  EngineOptions,
  OpenEngine,
} from '../../contract/engine.ts'
import type { ProgramName } from '../../contract/warden.ts'
import type { GuestEngineParts } from './agent-guest/start.ts'
import { sweepJails } from './firecracker/sweep-jails.ts'
import { LazyEngine, type EngineStarter } from './lazy-engine.ts'
import type { ContainerEngineName } from './processes/containers/socket.ts'
import { openProcesses } from './processes/engine.ts'
import { sweepSeatbelt } from './processes/seatbelt/sweep.ts'

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
  seatbelt: {
    open: (options, host) =>
      new LazyEngine(
        'seatbelt',
        async () =>
          new (await import('./processes/seatbelt/start.ts')).SeatbeltStarter(options, host),
        { sweep: sweepSeatbelt, system: options.sandboxExec === undefined ? 'darwin' : 'any' },
      ),
    programs: ['isolated-vm', 'wasi', 'analyst', 'node'],
    mechanisms: ['seatbelt', ...(process.platform === 'darwin' ? ['any'] : [])],
  },
  processes: {
    open: openProcesses,
    programs: ['isolated-vm', 'wasi', 'analyst', 'node', 'python'],
    mechanisms: ['any', 'embedded', 'bubblewrap'],
    usesImages: true,
  },
  runsc: {
    ...lazy('runsc', async (...on) => new (await import('./runsc/start.ts')).RunscStarter(...on)),
    mechanisms: ['gvisor'],
    usesImages: true,
  },
  podman: containers('podman'),
  docker: containers('docker'),
  firecracker: guests(
    'firecracker',
    async () => (await import('./firecracker/guests.ts')).firecrackerGuests,
    sweepJails,
  ),
  qemu: guests('qemu', async () => (await import('./qemu/guests.ts')).machineGuests),
  'user-mode-linux': guests(
    'user-mode-linux',
    async () => (await import('./user-mode-linux/guests.ts')).userKernelGuests,
  ),
}

/** The engine that starts this program by this mechanism; undefined where there is none. */
export function engineFor(program: ProgramName, mechanism: string): EngineName | undefined {
  const found = Object.entries(engines).find(
    ([, { programs, mechanisms }]) => programs.includes(program) && mechanisms.includes(mechanism),
  )
  return found?.[0]
}

/** `load` is called at the first wall. `sweep` removes leftovers of dead wardens; by default processes, cgroups and folders. */
function lazy(
  name: EngineName,
  load: (options: EngineOptions, host: EngineHost) => Promise<EngineStarter>,
  sweep?: Engine['sweep'],
): EngineRow {
  return {
    open: (options, host) => new LazyEngine(name, () => load(options, host), sweep && { sweep }),
    programs: ['node', 'python'],
    mechanisms: [name],
  }
}

function containers(name: ContainerEngineName): EngineRow {
  return lazy(name, async (options, host) => {
    const { ContainerStarter } = await import('./processes/containers/start.ts')
    return new ContainerStarter(name, options, host)
  })
}

/** Guests with a kernel of their own and an agent (`agent-guest/start.ts`). */
function guests(
  name: EngineName,
  parts: () => Promise<GuestEngineParts>,
  sweep?: Engine['sweep'],
): EngineRow {
  const load = async (options: EngineOptions, host: EngineHost) => {
    const [{ GuestStarter }, loaded] = await Promise.all([
      import('./agent-guest/start.ts'),
      parts(),
    ])
    return new GuestStarter(loaded, options, host)
  }
  return { ...lazy(name, load, sweep), usesImages: true }
}
