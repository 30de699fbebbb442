import { availableParallelism } from 'node:os'
import type { Config } from '../../contract/config.ts'
import type { QuotaCeilings } from './quota-bucket.ts'
import type { VisitorCeilings } from './quota.ts'

/** Tenant of the jobs of pages. */
export const pageTenant = 'page'

const secondsPerMinute = 60

/** Ceilings of all visitors together: those of their tenant, limited to their share of the CPUs. */
export function ceilingsOfAll(
  own: QuotaCeilings,
  { cpu_share }: Pick<Config['sessions'], 'cpu_share'>,
): QuotaCeilings {
  const share = cpu_share * availableParallelism() * secondsPerMinute
  return { ...own, cpu_seconds_per_minute: Math.min(share, own.cpu_seconds_per_minute ?? share) }
}

/** Ceilings of one visitor by token and by address. `SessionTokens` enforces the token's own concurrency and rate. */
export function ceilingsOfEach(sessions: Omit<Config['sessions'], 'anonymous'>): VisitorCeilings {
  const { cpu_seconds_per_minute, bytes_per_minute, address } = sessions
  const { concurrency, per_minute: runs_per_minute } = address
  return {
    token: { cpu_seconds_per_minute, bytes_per_minute },
    address: {
      concurrency,
      runs_per_minute,
      cpu_seconds_per_minute: address.cpu_seconds_per_minute,
      bytes_per_minute: address.bytes_per_minute,
    },
  }
}
