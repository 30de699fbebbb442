import { MayflyError } from '../../../contract/error.ts'

/** Counts of machine starts, for the operator. Under TCG some boots hang or panic (1 in 15 with QEMU 7.2). */
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
 * Tries a start up to three times and counts the attempts. Retries only failures of the machine (UNAVAILABLE, PROTOCOL,
 * INTERNAL), not bad requests or a closing warden. Throws the error of the last attempt.
 */
export async function withTries<T>(start: () => Promise<T>, counts: StartCounts): Promise<T> {
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

const passing = new Set<string>(['UNAVAILABLE', 'PROTOCOL', 'INTERNAL'])

function mayPass(error: unknown): boolean {
  return error instanceof MayflyError && passing.has(error.code)
}
