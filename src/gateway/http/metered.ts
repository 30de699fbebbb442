import type { Job } from '../../contract/job.ts'
import type { JobStart } from './parts.ts'
import { bytesOf } from './start-job.ts'

/** Longest time that one such work is charged for: analyses have a deadline of their own. */
const chargedMsMax = 60_000

/**
 * Does work that starts no job, such as an analysis: within the places of the server and the quotas of the
 * tenant. No wall counts its processor time, so the time it took is charged, as of one core. Throws MayflyError
 * RATE_LIMITED, OVERLOADED or DRAINING before any of the work.
 */
export async function metered<T>(
  parts: MeterParts,
  of: Job | { readonly tenant: string; readonly bytes: number },
  work: () => T | Promise<T>,
): Promise<T> {
  const { tenant } = of
  const bytes = 'bytes' in of ? of.bytes : bytesOf(of)
  using _place = parts.running.begin(tenant, bytes)
  const quota = parts.quotas.begin(tenant, bytes)
  const began = parts.clock.now()
  let bytesOut = 0
  try {
    const value = await work()
    bytesOut = Buffer.byteLength(JSON.stringify(value))
    return value
  } finally {
    const cpuMs = Math.min(chargedMsMax, parts.clock.now() - began)
    quota.end({ cpuMs, bytesOut })
  }
}

export type MeterParts = Pick<JobStart, 'running' | 'quotas' | 'clock'>
