import { MayflyError } from '../../../contract/error.ts'

/** Starts of machines, for the operator: boots that hang or panic are part of life under TCG (1 in 15 with QEMU 7.2). */
export interface StartCounts {
  started: number
  /** Single tries that failed, of any start. */
  failedTries: number
  /** Starts of which each try failed. */
  failed: number
}

const triesMax = 3

export const noStarts = (): StartCounts => ({ started: 0, failedTries: 0, failed: 0 })

/**
 * Tries a start up to three times and counts each. Only a machine that did not come up is tried again (UNAVAILABLE,
 * PROTOCOL, INTERNAL): neither a bad request nor a warden that is closing. Throws what the last try threw.
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
