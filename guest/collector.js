import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * The garbage collector as a function. The flag that gives it holds for every context made while it is set, and no
 * guest may have it; so it is set, used once, and unset before the first guest's context is made.
 *
 * @returns {() => void}
 */
export function takeCollector() {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc')
  setFlagsFromString('--no-expose-gc')
  return collect
}
