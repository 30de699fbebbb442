import type { Node } from './syntax.ts'

/** Function that a call calls, and its arguments: `f.call(t, a)`, `f.bind(t)(a)` and `Reflect.apply(f, t, [a])` call `f`. */
export interface Invocation {
  readonly callee: Node
  readonly given: readonly Node[]
}

/** Static values, which this file does not compute. */
interface Known {
  /** Nesting of the call, which each evaluation is given. */
  readonly depth: number
  readonly pathOf: (node: Node, depth: number) => string | undefined
  readonly keyOf: (member: Node, depth: number) => string | undefined
  /** Expression that a name holds, or the node itself. */
  readonly originOf: (node: Node, depth: number) => Node
}

/** Maximum wrappers around one function. */
const wrappersMax = 4
/** Longest list that is spread: many calls may share a long one. */
const spreadMax = 64

export function invocationOf(call: Node, known: Known): Invocation {
  let at: Invocation = { callee: call['callee'], given: flat(call['arguments'], known) }
  for (let step = 0; step < wrappersMax; step++) {
    const inner = unwrapped(at, known)
    if (!inner) return at
    at = inner
  }
  return at
}

function unwrapped({ callee, given }: Invocation, known: Known): Invocation | undefined {
  const bound = known.originOf(callee, known.depth)
  if (bound.type === 'CallExpression') return boundBy(bound, given, known)
  if (callee.type !== 'MemberExpression') return undefined
  const key = known.keyOf(callee, known.depth)
  if (key !== 'call' && key !== 'apply' && key !== 'construct') return undefined
  const [target, ...rest] = given
  if (target && known.pathOf(callee['object'], known.depth) === 'Reflect')
    return { callee: target, given: listed(rest[key === 'construct' ? 0 : 1], known) }
  if (key === 'construct') return undefined
  const now = key === 'call' ? rest : listed(rest[0], known)
  // `f.call.call(g, t, a)` calls `call` of `g`.
  const method = /\.(call|apply)$/.exec(known.pathOf(callee['object'], known.depth) ?? '')?.[1]
  if (!method || !target) return { callee: callee['object'], given: now }
  return { callee: target, given: method === 'call' ? now.slice(1) : listed(now[1], known) }
}

/** `f.bind(t, a)(b)`, where `bind` may itself be called by `call` or `apply`. */
function boundBy(bind: Node, given: readonly Node[], known: Known): Invocation | undefined {
  const member: Node = bind['callee']
  if (member.type !== 'MemberExpression') return undefined
  const first: readonly Node[] = bind['arguments']
  const key = known.keyOf(member, known.depth)
  if (key === 'bind') return { callee: member['object'], given: [...first.slice(1), ...given] }
  if ((key !== 'apply' && key !== 'call') || !first[0]) return undefined
  if (!known.pathOf(member['object'], known.depth)?.endsWith('.bind')) return undefined
  const bound = key === 'call' ? first.slice(2) : listed(first[1], known).slice(1)
  return { callee: first[0], given: [...bound, ...given] }
}

/** Elements of an array literal; an unknown array is spread. */
function listed(list: Node | undefined, known: Known): readonly Node[] {
  if (!list) return []
  return flat([{ ...list, type: 'SpreadElement', argument: list }], known)
}

function isSpread({ type }: Node): boolean {
  return type === 'SpreadElement'
}

function flat(given: readonly Node[], { originOf, depth }: Known): readonly Node[] {
  if (!given.some(isSpread)) return given
  return given.flatMap((one) => {
    const list = one.type === 'SpreadElement' ? originOf(one['argument'], depth) : one
    if (list.type !== 'ArrayExpression' || list === one) return [one]
    const elements: readonly (Node | null)[] = list['elements']
    return elements.length > spreadMax ? [one] : elements.filter((element) => element !== null)
  })
}
