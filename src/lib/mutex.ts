import { addAbortListener } from 'node:events'

/**
 * Has work done, one piece after the other. Who waits leaves at once when `leave` is aborted, and is answered with its
 * reason; work that has begun is not touched.
 */
export type Mutex = <T>(work: () => Promise<T>, leave?: AbortSignal) => Promise<T>

/**
 * A line in which nobody overtakes. Each capture takes up to 64 MiB of this process while it is kept: many lives that
 * end at once wait for each other, standing still, and take no more of it than one.
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
