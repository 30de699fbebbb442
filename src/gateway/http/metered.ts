import type { Job } from '../../contract/job.ts'
import type { JobStart } from './parts.ts'
import { requestBytesOf } from './start-job.ts'

/** Maximum time charged for one call; analyses have a deadline of their own. */
const chargedMsMax = 60_000

/**
 * Runs work that starts no job, such as an analysis, within the job slots of the server and the quotas of the
 * tenant. No wall measures its CPU time, so the elapsed time of one core is charged. Throws MayflyError
 * RATE_LIMITED, OVERLOADED or DRAINING before any of the work.
 */
export async function metered<T>(
  parts: MeterParts,
  of: Job | { readonly tenant: string; readonly bytes: number },
  work: () => T | Promise<T>,
): Promise<T> {
  const { tenant } = of
  const bytes = 'bytes' in of ? of.bytes : requestBytesOf(of)
  using _place = parts.running.begin(tenant, bytes)
  return await charged(parts, { tenant, bytes, isInSession: false }, work)
}

/** Runs work within the quotas of the tenant alone; in a session, which has a slot of its own, by default. */
export async function charged<T>(
  { quotas, clock }: Pick<MeterParts, 'quotas' | 'clock'>,
  { tenant, bytes = 0, isInSession = true }: ChargedWork,
  work: () => T | Promise<T>,
): Promise<T> {
  const quota = quotas.begin(tenant, bytes, isInSession)
  const began = clock.now()
  let bytesOut = 0
  try {
    const value = await work()
    bytesOut = Buffer.byteLength(JSON.stringify(value))
    return value
  } finally {
    const cpuMs = Math.min(chargedMsMax, clock.now() - began)
    quota.end({ cpuMs, bytesOut })
  }
}

interface ChargedWork {
  readonly tenant: string
  readonly bytes?: number
  readonly isInSession?: boolean
}

export type MeterParts = Pick<JobStart, 'running' | 'quotas' | 'clock'>
