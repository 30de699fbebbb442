import { messageOf } from '../contract/error.ts'
import type { Clock } from '../contract/clock.ts'
import type { Emitter } from '../contract/event.ts'
import { createWarm, type Spare, type Warm, type WarmFacts, type WarmOptions } from './warm.ts'

/** All that is kept ready here, of every kind: what it costs, and who gives way when jobs need the room. */
export interface Stock {
  /** Spares of one more kind. */
  warm<S extends Spare>(options: Omit<WarmOptions<S>, 'clock' | 'told'>): Warm<S>
  readonly facts: readonly WarmFacts[]
  /** Bytes that spares hold. */
  readonly bytes: number
  /** Gives up spares until `bytes` are free, or none is left. */
  giveUp(bytes: number): void
}

export function createStock(clock: Clock, voice: Emitter): Stock {
  const kinds: Warm<Spare>[] = []
  const facts = () => kinds.map((kind) => kind.facts)
  return {
    warm(options) {
      const { key } = options
      const kind = createWarm({
        ...options,
        clock,
        told(event) {
          if (event.what === 'refilled') voice.say('pool/refilled', { key, took: event.took })
          if (event.what === 'drained')
            voice.say('pool/drained', { key, ended: event.ended, because: event.because })
          if (event.what === 'failed')
            voice.say('tier/unavailable', { key, reason: messageOf(event.reason) })
        },
      })
      kinds.push(kind)
      return kind
    },
    get facts() {
      return facts()
    },
    get bytes() {
      return facts().reduce((sum, { bytes }) => sum + bytes, 0)
    },
    giveUp(bytes) {
      let left = bytes
      for (const kind of kinds) if (left > 0) left -= kind.giveUp(left)
    },
  }
}
