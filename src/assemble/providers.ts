/**
 * The table of providers: one row for each wall of Mayfly's own, loaded when it is first needed. A new wall is a folder
 * in `tiers/` and a row here.
 */
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job, Language } from '../contract/job.ts'
import type { Provider } from '../contract/provider.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import type { JailKind } from '../contract/jail-kind.ts'
import type { IsolateOptions } from '../tiers/isolated-vm/provider.ts'
import type { ProcessOptions } from '../tiers/process/provider.ts'
import type { WardenClient } from '../walls/client.ts'
import type { ProgramProviderOptions } from '../walls/program-provider.ts'
import { withZones } from '../zones/provider.ts'

export type ProviderLoaders = ReadonlyMap<string, () => Promise<Provider>>

export type ProviderParts = Omit<IsolateOptions, 'warden'> &
  Pick<ProcessOptions, 'warm' | 'most' | 'openEgressPath'> & {
    readonly warden: WardenClient
    readonly config: Config
  }

type RowParts = ProviderParts & Pick<ProgramProviderOptions, 'least' | 'usual'>

interface ProviderRow {
  /** Strongest tier that it can prove. */
  readonly tier: TierName
  readonly load: (parts: RowParts) => Promise<Provider>
}

const processRow = (jailKind: JailKind): ProviderRow => ({
  tier: 'process',
  async load({ config, ...parts }) {
    const { createProcessProvider } = await import('../tiers/process/provider.ts')
    return createProcessProvider({ jailKind, ...parts, fresh: config.fresh })
  },
})

const containerRow = (engine: string): ProviderRow => ({
  tier: 'container',
  load: async (parts) =>
    (await import('../tiers/container/provider.ts')).createContainerProvider(engine, parts),
})

/** Mayfly's own providers by name, in order of preference among equally strong ones of a tier. */
const rows = {
  'isolated-vm': {
    tier: 'isolate',
    async load(parts) {
      const { createIsolateProvider } = await import('../tiers/isolated-vm/provider.ts')
      return withZones(createIsolateProvider(parts))
    },
  },
  wasi: {
    tier: 'wasm',
    load: async (parts) => (await import('../tiers/wasi/provider.ts')).createWasiProvider(parts),
  },
  bubblewrap: processRow('bubblewrap'),
  embedded: processRow('embedded'),
  seatbelt: {
    tier: 'process',
    load: async (parts) =>
      (await import('../tiers/seatbelt/provider.ts')).createSeatbeltProvider(parts),
  },
  gvisor: {
    tier: 'gvisor',
    load: async (parts) =>
      (await import('../tiers/gvisor/provider.ts')).createGvisorProvider(parts),
  },
  podman: containerRow('podman'),
  docker: containerRow('docker'),
  'user-mode-linux': {
    tier: 'userkernel',
    load: async (parts) =>
      (await import('../tiers/userkernel/provider.ts')).createUserKernelProvider(parts),
  },
  firecracker: {
    tier: 'microvm',
    load: async (parts) =>
      (await import('../tiers/firecracker/provider.ts')).createFirecrackerProvider(parts),
  },
  qemu: {
    tier: 'microvm',
    load: async (parts) => (await import('../tiers/microvm/provider.ts')).createQemuProvider(parts),
  },
  mock: {
    tier: 'mock',
    load: async ({ config: { environment } }) =>
      (await import('../tiers/mock/provider.ts')).createMockProvider({ environment }),
  },
} satisfies Readonly<Record<string, ProviderRow>>

/** Names of Mayfly's own providers, as in configuration and jobs. */
export const providerNames = Object.keys(rows) as readonly (keyof typeof rows)[]

export function providerLoaders(parts: ProviderParts): ProviderLoaders {
  const { memory, cpu, processes } = parts.config.limits
  const own = { ...parts, usual: { memory, cpu, processes }, least: 0 }
  return new Map(Object.entries(rows).map(([name, { load }]) => [name, () => load(own)]))
}

/** Refuses providers of an application that would replace a wall, or each other. The mock may be replaced: its script is a test's. */
export function assertOwnNames(given: readonly Provider[]): void {
  const taken = new Set<string>(providerNames.filter((name) => name !== 'mock'))
  for (const { name } of given) {
    if (taken.has(name))
      throw new MayflyError('INVALID', `Cannot add provider "${name}": another one has its name`, {
        hint: 'Give it a name of its own; only "mock" may be replaced',
      })
    taken.add(name)
  }
}

/** Walls that serve few jobs: each is loaded, started and proved at the first job that needs it. */
const onDemand: readonly string[] = providerNames.filter((name) => name !== 'isolated-vm')

function tierOf(name: string): TierName | undefined {
  return Object.hasOwn(rows, name) ? rows[name as keyof typeof rows].tier : undefined
}

/** True if this tier is the strongest that a built-in provider can prove. */
export function isOfTier(name: string, tier: string): boolean {
  return tierOf(name) === tier
}

/** True if no proof could make a provider stronger than a tier. */
export function isNoStronger(name: string, tier: TierName): boolean {
  const own = tierOf(name)
  return own !== undefined && strengthOf[own] <= strengthOf[tier]
}

/** True if this provider, once proved, could serve a job of this language; the mock is selected by name only. */
export function mayServe(name: string, language: Language): boolean {
  return name !== 'mock' && (name === 'wasi') === (language === 'wasm')
}

/** True if a provider is proved at start. */
export function isProvedAtStart(name: string, config: Config): boolean {
  return !onDemand.includes(name) || config.default_provider === name
}

/** True for a job that the mock takes unless its floor forbids that; a wall that it needs then is proved after its analysis. */
export function isForMock({ asked: { provider, tier } }: Job, config: Config): boolean {
  if (provider === undefined && tier === undefined) return config.default_provider === 'mock'
  return provider === undefined ? tier === 'mock' : provider === 'mock'
}

/**
 * Providers to prove first for a job: the one it names, or the configured default, or the only on-demand provider of its
 * tier or floor, or both of `microvm`; and `wasi` for WebAssembly. Saves the proofs of weaker walls that the job cannot use.
 */
export function namedBy({ asked }: Job, { default_provider }: Config): readonly string[] {
  const isWasm = asked.language === 'wasm' || asked.tier === 'wasm'
  const tier = asked.tier ?? asked.floor
  const ofTier = onDemand.filter((name) => tier !== undefined && tierOf(name) === tier)
  const isDefault = asked.provider === undefined && asked.tier === undefined
  const preferred = isDefault && default_provider !== 'auto' ? [default_provider] : []
  const only = ofTier.length === 1 || tier === 'microvm' ? ofTier : []
  const byName = asked.provider ? [asked.provider] : [...preferred, ...only]
  return [...byName, ...(isWasm && !byName.includes('wasi') ? ['wasi'] : [])]
}
