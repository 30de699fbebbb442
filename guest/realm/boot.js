// Puts the realm together; answers its entrance, the one function the host calls.
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
   * Asks the host. An error of its side (its stack may run out before this one's) never reaches user
   * code; null is its way to say that it could not, or would not.
   */
  const ask = (op, a, b, c) => {
    let answer = null
    try {
      answer = host(op, a, b, c)
    } catch {
      // Its stack ran out before it could say so.
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
