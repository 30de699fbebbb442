import { MayflyError } from '../contract/error.ts'
import type { Operations } from '../contract/live.ts'
import { mainZone } from '../contract/phase.ts'
import type { LifeObserver, SupervisedRun } from '../contract/pipeline.ts'
import { createMutex, type Mutex } from '../lib/mutex.ts'
import { LiveOrders, type OrderParts } from './live-orders.ts'
import { LiveRegistry } from './live-registry.ts'
import { OperatedLife, type LifeParts } from './operated-life.ts'

export type LiveOperations = ReturnType<typeof createLiveOperations>

/**
 * Operators' view of live sandboxes, and their orders to a life: each one takes rights away, or pauses and resumes; none grants any.
 *
 * Orders to one life run one after another, in bounded queues; captures have their own queue and a deadline.
 */
export function createLiveOperations({
  mutex = createMutex(),
  ...parts
}: Omit<OrderParts, 'mutex'> & { readonly mutex?: Mutex }) {
  const lives = new LiveRegistry()
  const orders = new LiveOrders({ ...parts, mutex })
  return {
    operations: operationsOf(lives, orders),
    /** Makes an observer that registers a life for the duration of its run. */
    observe: (life: LifeParts) => observerOf(life, lives),
  }
}

function operationsOf(lives: LiveRegistry, orders: LiveOrders): Operations {
  const operations: Operations = {
    list: (by) => lives.rows(by),
    find: (id, by) => lives.find(id, by).life.details,
    tighten: (id, asked, by) =>
      lives.enqueue(id, by, 'orders', (life) => orders.tighten(life, asked, by)),
    freeze: (id, by) => lives.enqueue(id, by, 'orders', (life) => orders.freeze(life, by)),
    thaw: (id, by) => lives.enqueue(id, by, 'orders', (life) => orders.thaw(life, by)),
    capture: (id, by) => lives.enqueue(id, by, 'captures', (life) => orders.capture(life, by)),
    async endZone(id, zone, by) {
      if (zone !== mainZone) return await orders.endZone(lives.find(id, by).life, zone, by)
      const { took } = await operations.terminate(id, by)
      return { id, zone, took }
    },
    async terminate(id, by) {
      const { life, ended } = lives.find(id, by)
      return await orders.terminate(life, ended, by)
    },
  }
  return operations
}

function observerOf(parts: LifeParts, lives: LiveRegistry): LifeObserver {
  const life = new OperatedLife(parts)
  const ended = Promise.withResolvers<SupervisedRun>()
  let hasEnded = false
  // If a run throws, its caller gets the error; operators only wait for the end.
  ended.promise.catch(() => undefined)
  return {
    attach: (handle, emit) => life.attach(handle, emit),
    begin(task) {
      life.run = task.run
      lives.add(life, ended.promise)
      return undefined
    },
    entry(entry) {
      life.record(entry)
      return undefined
    },
    end(lived) {
      hasEnded = true
      ended.resolve(lived)
      return { ...lived, timeline: life.withOperatorEntries(lived.timeline) }
    },
    close() {
      // Created only on demand: a stack trace takes about 70 µs, which a run that ended must not pay.
      const message = `Cannot find "${life.run}" any more: its run broke`
      if (!hasEnded) ended.reject(new MayflyError('NOT_FOUND', message))
      lives.remove(life.run)
    },
  }
}
