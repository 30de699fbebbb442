import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Takes the garbage collector as a function. Its flag affects every context created while it is set, and no
 * guest may have it; so it is set, used once, and cleared before the first guest context.
 * @returns {() => void}
 */
export function takeGc() {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  return collect
}
