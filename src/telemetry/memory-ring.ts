import type { Event, Sink } from '../contract/event.ts'

/** Last events, for a live view. */
export interface MemoryRing {
  readonly sink: Sink
  /** Events after number `seq`, oldest first, at most `limit`. */
  after(seq: number, limit?: number): readonly Event[]
  /** Events of one run still in the ring. */
  of(run: string): readonly Event[]
}

/** Ring of the last `size` events. Throws RangeError unless `size` is at least 1. */
export function createMemoryRing(size = 1000): MemoryRing {
  if (!Number.isSafeInteger(size) || size < 1)
    throw new RangeError(`Cannot keep "${size}" events: expected a whole number from 1`)
  const slots: Event[] = []
  let next = 0
  const inOrder = (): readonly Event[] => [...slots.slice(next), ...slots.slice(0, next)]
  return {
    sink: (event) => {
      slots[next] = event
      next = (next + 1) % size
    },
    after: (seq, limit = size) =>
      inOrder()
        .filter((event) => event.seq > seq)
        .slice(0, limit),
    of: (run) => inOrder().filter((event) => event.run === run),
  }
}
