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

  /** An error of the host's side (its stack may run out before this one's) never reaches user code. */
  const ask = (op, a, b, c) => {
    try {
      return host(op, a, b, c)
    } catch {
      throw new P.RangeError('Maximum call stack size exceeded')
    }
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
