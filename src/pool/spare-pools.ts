import { messageOf } from '../contract/error.ts'
import type { Clock } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'
import { SparePool, type Spare, type SparePoolFacts, type SparePoolOptions } from './spare-pool.ts'

export type SparePools = ReturnType<typeof createSparePools>

/** All pools of spares: their memory, and eviction under memory pressure. */
export function createSparePools(clock: Clock, emitter: Emitter) {
  const kinds = new Map<SparePool<Spare>, string | undefined>()
  const facts = () => [...kinds.keys()].map((kind) => kind.facts)
  return {
    /** Creates a pool for another kind of spare. */
    createPool<S extends Spare>(
      options: Omit<SparePoolOptions<S>, 'clock' | 'onEvent' | 'onClosed'>,
    ): SparePool<S> {
      const { key, image } = options
      const kind = new SparePool({
        ...options,
        clock,
        onEvent(event) {
          if (event.what === 'refilled') emitter.emit('pool/refilled', { key, took: event.took })
          if (event.what === 'drained')
            emitter.emit('pool/drained', { key, ended: event.ended, because: event.because })
          if (event.what === 'failed')
            emitter.emit('tier/unavailable', { key, reason: messageOf(event.reason) })
        },
        onClosed: () => void kinds.delete(kind),
      })
      kinds.set(kind, image)
      return kind
    },
    get facts(): readonly SparePoolFacts[] {
      return facts()
    },
    /** Memory of all spares. */
    get bytes(): number {
      return facts().reduce((sum, { bytes }) => sum + bytes, 0)
    },
    /** Ends spares until `bytes` are freed, or none is left. */
    evict(bytes: number): void {
      let left = bytes
      for (const kind of kinds.keys()) if (left > 0) left -= kind.evict(left)
    },
    /** Ends the spares of an image whose tag moved, or that is refused. */
    dropImage(digest: string): void {
      for (const [kind, image] of kinds) {
        if (image !== digest) continue
        kind.keep(0)
        kind.evict(Infinity, 'changed')
      }
    },
  }
}
