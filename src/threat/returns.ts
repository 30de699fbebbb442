import { isFunction } from './scope.ts'
import type { Binding, LexicalScope, Node } from './syntax.ts'
import type { Value } from './constant.ts'

/** Maximum returned expressions of a function to look at. */
const returnsMax = 8
/** Text of functions that are evaluated again with other arguments, in UTF-16 units of one source. */
const againUnitsMax = 2 ** 20
/** Maximum calls within calls. */
const framesMax = 8

const spent = new WeakMap<LexicalScope, number>()

/** Expressions that a function may return; none for a generator. */
export function returnsOf(made: Node): readonly Node[] {
  if (made['generator']) return []
  if (made['body'].type !== 'BlockStatement') return [made['body']]
  const found = made['body'].scope?.returns ?? []
  return found.length > returnsMax ? [] : found
}

/** Evaluation of the value that a function returns: values in the function depend on its arguments. */
export class CallFrame {
  readonly of: Node
  readonly given: ReadonlyMap<Binding, Value | undefined>
  /** Values of expressions in the function and of its names; undefined while they are evaluated, too. */
  readonly known = new Map<Node | Binding, Value | undefined>()

  constructor(of: Node, given: ReadonlyMap<Binding, Value | undefined>) {
    this.of = of
    this.given = given
  }
}

/** Calls that are being evaluated, the innermost last. */
export class CallFrames {
  readonly #stack: CallFrame[] = []

  /** Undefined outside of calls, which is most of the time. */
  innermost: CallFrame | undefined

  /** Evaluates within a frame; undefined if that would take too long. */
  within<Result>(frame: CallFrame, evaluate: () => Result): Result | undefined {
    if (this.#stack.length >= framesMax || !isAffordable(frame.of)) return undefined
    if (this.#stack.some(({ of }) => of === frame.of)) return undefined
    this.#stack.push(frame)
    this.innermost = frame
    try {
      return evaluate()
    } finally {
      this.#stack.pop()
      this.innermost = this.#stack.at(-1)
    }
  }

  /** Innermost frame whose function contains a node. */
  around({ start, end }: Node): CallFrame | undefined {
    return this.#stack.findLast(({ of }) => of.start <= start && end <= of.end)
  }

  /** CallFrame in which a name is a parameter. */
  giving(binding: Binding): CallFrame | undefined {
    return this.#stack.findLast(({ given }) => given.has(binding))
  }
}

/** Evaluating each function once takes linear time; more often, an amount of text. */
function isAffordable(made: Node): boolean {
  if (!evaluated.has(made)) {
    evaluated.add(made)
    return true
  }
  let root = made.scope!
  while (root.parent) root = root.parent
  const units = (spent.get(root) ?? 0) + made.end - made.start
  spent.set(root, units)
  return units <= againUnitsMax
}

const evaluated = new WeakSet<Node>()

/** Function that an expression is; undefined for another. */
export function functionIn(node: Node | undefined): Node | undefined {
  return node && isFunction(node) ? node : undefined
}
