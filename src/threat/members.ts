import type { Node } from './syntax.ts'

/** Resolved key of a property, `notYet` during its own resolution, undefined if it is dynamic. */
export type KeyOf = (property: Node) => string | typeof notYet | undefined
export const notYet = Symbol('not yet')

/**
 * Value of an object or array literal under a key. Each property is resolved once, however often it is
 * requested: many properties times many reads would take quadratic time otherwise.
 */
export function memberOf(literal: Node, key: string, keyOf: KeyOf): Node | undefined {
  if (literal.type === 'ArrayExpression') return elementOf(literal, key)
  const members = known.getOrInsertComputed(literal, () => new Members(propertiesOf(literal)))
  return members.get(key, keyOf)
}

/** Properties of an object literal, static members of a class, or members of the instances of a class body. */
function propertiesOf(literal: Node): readonly Node[] {
  if (literal.type === 'ObjectExpression') return literal['properties']
  const isStatic = literal.type !== 'ClassBody'
  const body: readonly Node[] = isStatic ? literal['body'].body : literal['body']
  return body.filter((member) => member['static'] === isStatic)
}

const keyed = new Set(['Property', 'MethodDefinition', 'PropertyDefinition', 'AccessorProperty'])
const known = new WeakMap<Node, Members>()
const spreads = new WeakMap<Node, boolean>()

function elementOf(literal: Node, key: string): Node | undefined {
  const elements: readonly (Node | null)[] = literal['elements']
  const spread = spreads.getOrInsertComputed(literal, () =>
    elements.some((element) => element?.type === 'SpreadElement'),
  )
  return spread ? undefined : (elements[Number(key)] ?? undefined)
}

/**
 * Properties of one object by key; the last one of equal keys counts. Read backwards and lazily, since
 * resolving a computed key can lead back to this object.
 */
class Members {
  readonly #properties: readonly Node[]
  readonly #placeOf = new Map<string, number>()
  /** Positions whose keys are being resolved further up the stack. Bounded by the depth of expressions. */
  #open: number[] = []
  #unseen: number

  constructor(properties: readonly Node[]) {
    this.#properties = properties
    this.#unseen = properties.length
  }

  get(key: string, keyOf: KeyOf): Node | undefined {
    for (;;) {
      if (this.#open.length > 0) this.#lookAgain(keyOf)
      const place = this.#placeOf.get(key)
      if (place !== undefined) return this.#properties[place]!['value'] ?? undefined
      if (this.#unseen === 0) return undefined
      this.#see(--this.#unseen, keyOf)
    }
  }

  #lookAgain(keyOf: KeyOf): void {
    const open = this.#open
    this.#open = []
    for (const place of open) this.#see(place, keyOf)
  }

  #see(place: number, keyOf: KeyOf): void {
    const property = this.#properties[place]!
    if (!keyed.has(property.type) || property['kind'] === 'set') return
    const key = keyOf(property)
    if (key === notYet) this.#open.push(place)
    else if (key !== undefined && (this.#placeOf.get(key) ?? -1) < place) {
      this.#placeOf.set(key, place)
    }
  }
}
