import { MayflyError } from '../contract/error.ts'
import type { Operator } from '../contract/live.ts'
import type { SupervisedRun } from '../contract/pipeline.ts'
import type { OperatedLife } from './operated-life.ts'

/** Limit of queued orders per life; terminate bypasses the queue. */
export const waitingMax = 8

export interface RegisteredLife {
  readonly life: OperatedLife
  readonly ended: Promise<SupervisedRun>
  readonly orders: OrderQueue
  /** Separate queue: a capture takes long, and must not delay tightening. */
  readonly captures: OrderQueue
}

/** Queue of orders: the last one, and the number waiting. */
interface OrderQueue {
  last: Promise<unknown>
  waiting: number
}

/** Lives with a running job, and the queues of the orders to each. */
export class LiveRegistry {
  readonly #lives = new Map<string, RegisteredLife>()

  add(life: OperatedLife, ended: Promise<SupervisedRun>): void {
    this.#lives.set(life.run, { life, ended, orders: newQueue(), captures: newQueue() })
  }

  remove(run: string): void {
    this.#lives.delete(run)
  }

  rows({ tenant }: Operator) {
    return [...this.#lives.values()]
      .map(({ life }) => life.row)
      .filter((row) => tenant === undefined || row.tenant === tenant)
      .toReversed()
  }

  /** Same error for a foreign tenant, a finished and an unknown life: existence is not revealed. */
  find(id: string, { tenant }: Operator): RegisteredLife {
    const found = this.#lives.get(id)
    if (found && (tenant === undefined || found.life.parts.profile.tenant === tenant)) return found
    throw new MayflyError('NOT_FOUND', 'Cannot find this sandbox')
  }

  /** Runs orders of one life sequentially, with a bounded queue. */
  async enqueue<T>(
    id: string,
    by: Operator,
    which: 'orders' | 'captures',
    work: (life: OperatedLife) => Promise<T>,
  ): Promise<T> {
    const queue = this.find(id, by)[which]
    if (queue.waiting >= waitingMax)
      throw new MayflyError('RATE_LIMITED', 'Cannot take another order for this sandbox now', {
        retryAfterMs: 1000,
      })
    queue.waiting += 1
    const order = queue.last.then(async () => {
      const { life } = this.find(id, by)
      life.assertNotOver()
      return await work(life)
    })
    queue.last = order.catch(() => undefined)
    try {
      return await order
    } finally {
      queue.waiting -= 1
    }
  }
}

const newQueue = (): OrderQueue => ({ last: Promise.resolve(), waiting: 0 })
