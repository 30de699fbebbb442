import { addAbortListener } from 'node:events'

/**
 * Runs work under mutual exclusion, first come first served. A waiter leaves the queue when `leave` is aborted,
 * and rejects with its reason; running work is not interrupted.
 */
export type Mutex = <T>(work: () => Promise<T>, leave?: AbortSignal) => Promise<T>

/**
 * Creates a FIFO mutex. Used for captures, each of which holds up to 64 MiB of this process: lives that end at
 * once queue for it, frozen, and never need more than one buffer.
 */
export function createMutex(): Mutex {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(work: () => Promise<T>, leave?: AbortSignal) => {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const leaving = leave && addAbortListener(leave, () => reject(leave.reason))
    const turn = async (): Promise<void> => {
      leaving?.[Symbol.dispose]()
      if (!leave?.aborted) await Promise.try(work).then(resolve, reject)
    }
    last = last.then(turn)
    return promise
  }
}
