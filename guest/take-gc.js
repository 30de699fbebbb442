import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Clears V8's cache of compiled scripts as well, which holds each that ran once. */
export const WHOLE = { type: 'major', execution: 'sync', flavor: 'last-resort' }

/**
 * Takes the collector of an isolate, in a context of its own, which its guest cannot reach.
 * @param {import('isolated-vm').Isolate} isolate @returns {() => void}
 */
export function takeGcOf(isolate) {
  setFlagsFromString('--expose-gc')
  try {
    const collect = isolate.createContextSync().global.getSync('gc', { reference: true })
    return () => void collect.applySync(undefined, [WHOLE], { arguments: { copy: true } })
  } finally {
    setFlagsFromString('--no-expose-gc')
  }
}

/**
 * Takes the garbage collector as a function. Its flag affects every context created while it is set, and no
 * guest may have it; so it is set, used once, and cleared before the first guest context.
 * @returns {(options?: typeof WHOLE) => void}
 */
export function takeGc() {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  return collect
}
