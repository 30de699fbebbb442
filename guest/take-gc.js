import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Clears V8's cache of compiled scripts too, which keeps every script that ran. */
export const WHOLE = { type: 'major', execution: 'sync', flavor: 'last-resort' }

/**
 * Returns the garbage collector of an isolate, taken in a separate context that the guest cannot reach.
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
 * Returns the garbage collector as a function. The flag exposes it to every context created while it is set, and no
 * guest may have it, so the flag is cleared before the first guest context.
 * @returns {(options?: typeof WHOLE) => void}
 */
export function takeGc() {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  return collect
}
