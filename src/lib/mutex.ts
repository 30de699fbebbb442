import { addAbortListener } from 'node:events'

export interface MutexOptions {
  /** A waiter leaves the queue when this is aborted, and rejects with its reason; running work is not interrupted. */
  readonly leave?: AbortSignal | undefined
  readonly tenant?: string
}

/** Runs work under mutual exclusion: round-robin between tenants, first come first served within one. */
export type Mutex = <T>(work: () => Promise<T>, options?: MutexOptions) => Promise<T>

/**
 * Used for captures, each of which holds up to 64 MiB of this process: lives that end at once queue for it, frozen,
 * and never need more than one buffer. Many of one tenant delay those of another by one.
 */
export function createMutex(): Mutex {
  /** Insertion order is the round-robin order. */
  const queues = new Map<string, (() => Promise<void>)[]>()
  let isServing = false
  const serve = async (): Promise<void> => {
    isServing = true
    // Visits tenants that are added meanwhile, too.
    for (const [tenant, queue] of queues) {
      await queue.shift()?.()
      queues.delete(tenant)
      if (queue.length > 0) queues.set(tenant, queue)
    }
    isServing = false
  }
  return <T>(work: () => Promise<T>, { leave, tenant = '' }: MutexOptions = {}) => {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    // Adapters queue by it under Node 20 too, which has neither Map.getOrInsert nor Promise.try.
    const queue = queues.get(tenant) ?? []
    queues.set(tenant, queue)
    const turn = async (): Promise<void> => {
      leaving?.[Symbol.dispose]()
      if (leave?.aborted) return
      try {
        resolve(await work())
      } catch (thrown) {
        reject(thrown)
      }
    }
    const leaving =
      leave &&
      addAbortListener(leave, () => {
        const at = queue.indexOf(turn)
        if (at >= 0) queue.splice(at, 1)
        reject(leave.reason)
      })
    queue.push(turn)
    if (!isServing) void serve()
    return promise
  }
}
