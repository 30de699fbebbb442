// Assembles the realm of an isolate; returns its entry point, the one function the host calls.
//
// User code shares this realm's objects, so nothing here trusts a prototype or global after boot: every
// intrinsic is taken first (primordials.js), and parts get them as `P`. The host is reached by `ask` alone,
// with text and numbers. Parts are functions without free variables; rare ones load lazily (globals.js). Relies
// on isolated-vm copying primitives only. Does not bound time or memory: the cell and its process do.
export default function (
  host,
  webAssembly,
  primordials,
  globals,
  serialise,
  describe,
  console,
  driver,
) {
  const P = primordials()

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
  const realm = globals(P, ask, webAssembly)
  const { bound } = realm
  bound.now = () => ask('clock')
  bound.describe = describe(P)
  bound.serialise = serialise(P)
  realm.define('console', console(P, ask, realm.part))
  driver(P, ask, realm)

  return (what, a, b, c) => bound[what](a, b, c)
}
