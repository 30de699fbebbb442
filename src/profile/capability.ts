import type { Config } from '../contract/config.ts'
import type { Control, FilesControl } from '../contract/controls.ts'
import type { Job, Limits } from '../contract/job.ts'
import type { ConfiguredNetwork } from '../contract/network.ts'

/** What a call of a capability may have, as far as its configuration says something. */
export interface CapabilityTerms {
  /** Where it stands: `capability_configs.NAME`. */
  readonly where: string
  readonly limits: Pick<Limits, 'timeout' | 'memory' | 'cpu'>
  readonly network?: ConfiguredNetwork | undefined
  readonly files?: FilesControl | undefined
}

const MB = 2 ** 20
/** Below this a wall has to hold the processor itself: what runs in one thread has no more by its nature. */
const ONE_CORE = 1

/** `[capability_configs.NAME]` of the capability that a job is a call of; nothing for any other job. */
export function termsFor(
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

/** The keys of the configuration, for the reasons in explain. */
export const keyOf = {
  timeout: 'timeout',
  memory: 'memory_limit_mb',
  cpu: 'cpu_limit',
} as const

/** Controls that a wall must be able to hold for this, which not every wall does. */
export function heldFor(
  terms: CapabilityTerms | undefined,
  { cpu }: { readonly cpu: number },
): readonly Control[] {
  return terms?.limits.cpu !== undefined && cpu < ONE_CORE ? ['cpu'] : []
}
