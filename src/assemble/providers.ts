/**
 * The table of providers: one row for each wall of Mayfly's own, loaded when it is first needed. A new wall is a folder
 * in `tiers/` and a row here.
 */
import type { Config } from '../contract/config.ts'
import type { Job, Language } from '../contract/job.ts'
import type { Provider } from '../contract/provider.ts'
import { strengthOf, type TierName } from '../contract/tier.ts'
import { jailKinds, type JailKind } from '../contract/jail-kind.ts'
import type { IsolateOptions } from '../tiers/isolated-vm/provider.ts'
import type { ProcessOptions } from '../tiers/process/provider.ts'
import type { WardenClient } from '../walls/client.ts'
import type { ProgramProviderOptions } from '../walls/program-provider.ts'
import { withZones } from '../zones/provider.ts'

/** Engines of containers, each a provider. */
const containerNames = ['podman', 'docker'] as const

/** Names of Mayfly's own providers, as in configuration and jobs. */
export const providerNames = [
  'isolated-vm',
  'wasi',
  ...jailKinds,
  'gvisor',
  ...containerNames,
  'user-mode-linux',
  'firecracker',
  'qemu',
  'mock',
] as const

export type ProviderLoaders = ReadonlyMap<string, () => Promise<Provider>>

export type ProviderParts = Omit<IsolateOptions, 'warden'> &
  Pick<ProcessOptions, 'warm' | 'most' | 'openEgressPath'> & {
    readonly warden: WardenClient
    readonly config: Config
  }

/** Mayfly's own providers by name, in order of preference among equally strong ones of a tier. */
export function providerLoaders({ config, ...parts }: ProviderParts): ProviderLoaders {
  const usual = defaultLimits(config)
  return new Map([
    [
      'isolated-vm',
      async () => {
        const { createIsolateProvider } = await import('../tiers/isolated-vm/provider.ts')
        return withZones(createIsolateProvider(parts))
      },
    ],
    [
      'wasi',
      async () => {
        const { createWasiProvider } = await import('../tiers/wasi/provider.ts')
        return createWasiProvider(parts)
      },
    ],
    ...jailKinds.map(
      (jailKind) =>
        [
          jailKind,
          () => processProvider(jailKind, { ...parts, usual, fresh: config.fresh }),
        ] as const,
    ),
    ...containerNames.map(
      (name) =>
        [
          name,
          async () => {
            const { createContainerProvider } = await import('../tiers/container/provider.ts')
            return createContainerProvider(name, { ...parts, usual, least: 0 })
          },
        ] as const,
    ),
    [
      'gvisor',
      async () => {
        const { createGvisorProvider } = await import('../tiers/gvisor/provider.ts')
        return createGvisorProvider({ ...parts, usual, least: 0 })
      },
    ],
    ...Object.entries(ownKernels).map(
      ([name, load]) => [name, () => load({ ...parts, usual, least: 0 })] as const,
    ),
    [
      'mock',
      async () => {
        const { createMockProvider } = await import('../tiers/mock/provider.ts')
        return createMockProvider({ environment: config.environment })
      },
    ],
  ])
}

/** Providers whose guests have kernels of their own. */
const ownKernels: Readonly<Record<string, (options: ProgramProviderOptions) => Promise<Provider>>> =
  {
    'user-mode-linux': async (options) =>
      (await import('../tiers/userkernel/provider.ts')).createUserKernelProvider(options),
    firecracker: async (options) =>
      (await import('../tiers/firecracker/provider.ts')).createFirecrackerProvider(options),
    qemu: async (options) =>
      (await import('../tiers/microvm/provider.ts')).createQemuProvider(options),
  }

async function processProvider(
  jailKind: JailKind,
  parts: Omit<ProviderParts, 'config'> & Required<Pick<ProcessOptions, 'usual' | 'fresh'>>,
): Promise<Provider> {
  const { createProcessProvider } = await import('../tiers/process/provider.ts')
  return createProcessProvider({ jailKind, ...parts, least: 0 })
}

/** Limits of a job that requests none. */
function defaultLimits({ limits }: Config): NonNullable<ProcessOptions['usual']> {
  return { memory: limits.memory, cpu: limits.cpu, processes: limits.processes }
}

/** Walls that serve few jobs: each is loaded, started and proved at the first job that needs it. */
const onDemand: ReadonlySet<string> = new Set([
  'mock',
  'wasi',
  ...jailKinds,
  'gvisor',
  ...containerNames,
  'user-mode-linux',
  'firecracker',
  'qemu',
])

/** Strongest tier that each built-in provider can prove. */
const tierOf: Readonly<Record<string, TierName>> = {
  'isolated-vm': 'isolate',
  wasi: 'wasm',
  ...Object.fromEntries(jailKinds.map((jailKind) => [jailKind, 'process'] as const)),
  gvisor: 'gvisor',
  podman: 'container',
  docker: 'container',
  'user-mode-linux': 'userkernel',
  firecracker: 'microvm',
  qemu: 'microvm',
}

/** True if this tier is the strongest that a built-in provider can prove. */
export function isOfTier(name: string, tier: string): boolean {
  return tierOf[name] === tier
}

/** True if no proof could make a provider stronger than a tier. */
export function isNoStronger(name: string, tier: TierName): boolean {
  const own = tierOf[name]
  return own !== undefined && strengthOf[own] <= strengthOf[tier]
}

/** True if this provider, once proved, could serve a job of this language; the mock is selected by name only. */
export function mayServe(name: string, language: Language): boolean {
  return name !== 'mock' && (name === 'wasi') === (language === 'wasm')
}

/** True if a provider is proved at start. */
export function isProvedAtStart(name: string, config: Config): boolean {
  return !onDemand.has(name) || config.default_provider === name
}

/**
 * Providers to prove first for a job: the one it names, or the configured default, or the only on-demand provider of its
 * tier or floor, or both of `microvm`; and `wasi` for WebAssembly. Saves the proofs of weaker walls that the job cannot use.
 */
export function namedBy({ asked }: Job, { default_provider }: Config): readonly string[] {
  const isWasm = asked.language === 'wasm' || asked.tier === 'wasm'
  const tier = asked.tier ?? asked.floor
  const ofTier = [...onDemand].filter((name) => tier !== undefined && tierOf[name] === tier)
  const isDefault = asked.provider === undefined && asked.tier === undefined
  const preferred = isDefault && default_provider !== 'auto' ? [default_provider] : []
  const only = ofTier.length === 1 || tier === 'microvm' ? ofTier : []
  const byName = asked.provider ? [asked.provider] : [...preferred, ...only]
  return [...byName, ...(isWasm && !byName.includes('wasi') ? ['wasi'] : [])]
}
