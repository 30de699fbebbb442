import { resolvesWithin } from '../lib/within.ts'
import type { Warden } from './warden.ts'

/** Milliseconds for every wall to end and be released: a kill waits 5 s for a task in uninterruptible sleep. */
const CLOSE_MS_MAX = 12_000

/**
 * Closes a warden within a bound. Walls that are left die with this process (PR_SET_PDEATHSIG), and their leases stay
 * for the next sweep.
 */
export async function closeWithin(
  warden: Pick<Warden, 'close'>,
  ms: number = CLOSE_MS_MAX,
): Promise<void> {
  await resolvesWithin(warden.close(), ms)
}
