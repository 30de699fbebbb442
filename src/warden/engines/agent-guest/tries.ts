import { MayflyError } from '../../../contract/error.ts'

/** Counts of machine starts. Emulated boots sometimes hang or panic (1 in 15 under TCG). */
export interface StartCounts {
  started: number
  /** Failed attempts of all starts. */
  failedTries: number
  /** Starts of which all attempts failed. */
  failed: number
}

const triesMax = 3

export const noStarts = (): StartCounts => ({ started: 0, failedTries: 0, failed: 0 })

/**
 * Tries a start up to three times and counts the attempts. Each attempt releases its machine before it rejects. Retries only
 * failures that `mayPass`; throws the error of the last attempt.
 */
export async function withTries<T>(
  start: () => Promise<T>,
  counts: StartCounts,
  mayPass = isOfMachine,
): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      const started = await start()
      counts.started++
      return started
    } catch (error) {
      counts.failedTries++
      if (tries < triesMax && mayPass(error)) continue
      counts.failed++
      throw error
    }
}

/** True for failures of a machine; false for a bad request, an overloaded host or a closing warden. */
export function isOfMachine(error: unknown): boolean {
  return (
    error instanceof MayflyError && ['UNAVAILABLE', 'PROTOCOL', 'INTERNAL'].includes(error.code)
  )
}
