// Assembles the realm of an isolate; exports its entry point, the one function the host calls.
//
// User code shares this realm's objects, so nothing here trusts a prototype or global after boot: every
// intrinsic is taken first (primordials.js), and files get them as `P`. The host is reached by `ask` alone,
// with text and numbers. Files run as functions without free variables (scope.js); rare ones load lazily
// (globals.js). Relies on isolated-vm copying primitives only. Does not bound time or memory: the cell and its
// process do.
import { host, parts, webAssembly } from './scope.js'

const { P } = parts.primordials()

/**
 * Calls the host. Errors of its side (its stack may overflow before this one's) never reach user code; null
 * means failed or refused.
 */
const ask = (op, a, b, c) => {
  let answer = null
  try {
    answer = host(op, a, b, c)
  } catch {
    // The host's stack overflowed.
  }
  if (answer === null) throw new P.RangeError('Maximum call stack or argument size exceeded')
  return answer
}
const bound = { __proto__: null }
const { define, network, part } = parts.globals({ __proto__: null, P, ask, bound, webAssembly })
parts.stack({ __proto__: null, P })
bound.now = () => ask('clock')
const { describe, text } = parts.describe({ __proto__: null, P })
const { readQueryBy, serialise } = parts.serialise({ __proto__: null, P, text })
const frames = (stack) => ask('frames', stack)
bound.describe = (thrown) => describe(thrown, (value) => part('inspect').inspect(value))
bound.readQueryBy = readQueryBy
bound.serialise = (value, unitsMax) => serialise(value, unitsMax, frames)
define('console', parts.console({ __proto__: null, P, ask, part }).console)
parts.refused({ __proto__: null, P, ask, bound, webAssembly })
parts.driver({ __proto__: null, P, ask, bound, define, network, part })

const enter = (what, a, b, c, d) => bound[what](a, b, c, d)

export { enter }
