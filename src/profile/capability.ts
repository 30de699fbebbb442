import type { Config } from '../contract/config.ts'
import type { Control, FilesControl } from '../contract/controls.ts'
import type { Job, Limits } from '../contract/job.ts'
import type { ConfiguredNetwork } from '../contract/network.ts'

/** Settings for calls of one capability, as far as configured. */
export interface CapabilityTerms {
  /** Configuration path: `capability_configs.NAME`. */
  readonly where: string
  readonly limits: Pick<Limits, 'timeout' | 'memory' | 'cpu'>
  readonly network?: ConfiguredNetwork | undefined
  readonly files?: FilesControl | undefined
}

const MB = 2 ** 20
/** Below one core the wall must enforce the limit; a single thread cannot exceed one anyway. */
const ONE_CORE = 1

/** `[capability_configs.NAME]` for a job that is a capability call; undefined for other jobs. */
export function capabilityTermsFor(
  { capability }: Pick<Job, 'capability'>,
  { capability_configs }: Config,
): CapabilityTerms | undefined {
  if (capability === undefined || !Object.hasOwn(capability_configs, capability)) return undefined
  const { timeout, memory_limit_mb, cpu_limit, network_policy, fs_policy } =
    capability_configs[capability]!
  return {
    where: `capability_configs.${capability}`,
    limits: {
      ...(timeout !== undefined && { timeout }),
      ...(memory_limit_mb !== undefined && { memory: Math.round(memory_limit_mb * MB) }),
      ...(cpu_limit !== undefined && { cpu: cpu_limit }),
    },
    network: network_policy,
    files: fs_policy,
  }
}

/** Configuration keys for `explain`. */
export const configKeyOf = {
  timeout: 'timeout',
  memory: 'memory_limit_mb',
  cpu: 'cpu_limit',
} as const

/** Controls the wall must enforce for these settings. */
export function requiredControls(
  terms: CapabilityTerms | undefined,
  { cpu }: { readonly cpu: number },
): readonly Control[] {
  return terms?.limits.cpu !== undefined && cpu < ONE_CORE ? ['cpu'] : []
}
