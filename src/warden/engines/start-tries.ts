import { MayflyError } from '../../contract/error.ts'

/** Counts of machine starts, for the operator. Under emulation some boots hang or panic (1 in 15 with Debian 12). */
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
 * Tries a start up to three times and counts the attempts. Each attempt makes a machine of its own, and ends it before it
 * rejects. Retries only the failures that `mayPass`, by default those of the machine. Throws the error of the last attempt.
 */
export async function withTries<T>(
  start: (attempt: number) => Promise<T>,
  counts: StartCounts,
  mayPass: (error: unknown) => boolean = isOfMachine,
): Promise<T> {
  for (let attempt = 1; ; attempt++)
    try {
      const started = await start(attempt)
      counts.started++
      return started
    } catch (error) {
      counts.failedTries++
      if (attempt < triesMax && mayPass(error)) continue
      counts.failed++
      throw error
    }
}

const ofMachine = new Set<string>(['UNAVAILABLE', 'PROTOCOL', 'INTERNAL'])

/** True for failures of a machine; false for a bad request, an overloaded host or a closing warden. */
export function isOfMachine(error: unknown): boolean {
  return error instanceof MayflyError && ofMachine.has(error.code)
}
