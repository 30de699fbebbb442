import type { EventEmitter } from 'node:events'

/** Resolves at the first of these events, and listens to none of them afterwards. Unlike events.once(…), an error does not reject. */
export function anyEvent(emitter: EventEmitter, names: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const name of names) emitter.off(name, done)
      resolve()
    }
    for (const name of names) emitter.on(name, done)
  })
}
