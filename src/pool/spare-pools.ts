import { messageOf } from '../contract/error.ts'
import type { Clock } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'
import {
  createSparePool,
  type Spare,
  type SparePool,
  type SparePoolFacts,
  type SparePoolOptions,
} from './spare-pool.ts'

/** All pools of spares: their memory, and eviction under memory pressure. */
export interface SparePools {
  /** Creates a pool for another kind of spare. */
  createPool<S extends Spare>(options: Omit<SparePoolOptions<S>, 'clock' | 'told'>): SparePool<S>
  readonly facts: readonly SparePoolFacts[]
  /** Memory of all spares. */
  readonly bytes: number
  /** Ends spares until `bytes` are freed, or none is left. */
  evict(bytes: number): void
  /** Ends the spares of an image whose tag moved, or that is refused. */
  dropImage(digest: string): void
}

export function createSparePools(clock: Clock, emitter: Emitter): SparePools {
  const kinds = new Map<SparePool<Spare>, string | undefined>()
  const facts = () => [...kinds.keys()].map((kind) => kind.facts)
  return {
    createPool(options) {
      const { key, image } = options
      const kind = createSparePool({
        ...options,
        clock,
        onEvent(event) {
          if (event.what === 'refilled') emitter.emit('pool/refilled', { key, took: event.took })
          if (event.what === 'drained')
            emitter.emit('pool/drained', { key, ended: event.ended, because: event.because })
          if (event.what === 'failed')
            emitter.emit('tier/unavailable', { key, reason: messageOf(event.reason) })
        },
      })
      kinds.set(kind, image)
      return {
        take: (hints) => kind.take(hints),
        fill: () => kind.fill(),
        keep: (least) => kind.keep(least),
        evict: (bytes, because) => kind.evict(bytes, because),
        get facts() {
          return kind.facts
        },
        async close() {
          await kind.close()
          kinds.delete(kind)
        },
      }
    },
    get facts() {
      return facts()
    },
    get bytes() {
      return facts().reduce((sum, { bytes }) => sum + bytes, 0)
    },
    evict(bytes) {
      let left = bytes
      for (const kind of kinds.keys()) if (left > 0) left -= kind.evict(left)
    },
    dropImage(digest) {
      for (const [kind, image] of kinds) {
        if (image !== digest) continue
        kind.keep(0)
        kind.evict(Infinity, 'changed')
      }
    },
  }
}
