import { lookUp } from '../scope.ts'
import type { Binding, Node } from '../syntax.ts'
import { memberKey } from '../value.ts'
import { type Flow } from './flow.ts'
import { bindingOf, callBy, isInside, nameRoleOf, type NameIndex } from './names.ts'
import { changesAt, isOwnChange, isPause } from './program.ts'
import { isMadeOnce, type TopLevel, type TopFunction } from './top.ts'
import { zoneGlobals } from './builtin-names.ts'

/** Dependencies of a function on the program around it; or the reason why it cannot be separated. */
export type Closure =
  | {
      readonly kind: 'closed'
      /** Constant declarations copied with it. */
      readonly constants: readonly Node[]
      /** Top-level functions it calls, each with the call. */
      readonly calls: readonly { readonly to: TopFunction; readonly call: Node }[]
    }
  | { readonly kind: 'open'; readonly why: string }

export interface ClosureContext {
  readonly top: TopLevel
  readonly names: NameIndex
  readonly flow: Flow
  readonly byBinding: ReadonlyMap<Binding, TopFunction>
}

const errors = /^(?:Error|TypeError|RangeError|SyntaxError|URIError|EvalError)$/

/** Determines whether a function is closed, by its own code, without its callees. */
export function closureOf(
  own: TopFunction,
  inside: readonly Node[],
  parts: ClosureContext,
): Closure {
  const { node, id } = own
  if (node['generator']) return open('it is a generator')
  const constants = new Set<Node>()
  const calls: { to: TopFunction; call: Node }[] = []
  for (const at of inside) {
    const why = strange(at, parts.flow) ?? (at.type === 'Identifier' ? reach(at) : undefined)
    if (why !== undefined) return open(why)
  }
  return { kind: 'closed', constants: [...constants], calls }

  function reach(name: Node): string | undefined {
    if (name === id || !isKnown(name, parts.names)) return undefined
    const binding = bindingOf(name)
    if (!binding) {
      const isThere = zoneGlobals.has(name['name']) || isPause(name)
      return isThere ? undefined : `it uses the global "${name['name']}"`
    }
    if (lookUp(name['name'], node.scope) !== binding) return undefined
    const to = parts.byBinding.get(binding)
    if (to) {
      const call = callBy(name)
      if (!call) return `it hands on the function "${to.name}"`
      calls.push({ to, call })
      return undefined
    }
    const constant = constantOf(binding, parts)
    if (!constant) return `it uses "${name['name']}", which other code shares`
    constants.add(constant)
    return undefined
  }
}

function open(why: string): Closure {
  return { kind: 'open', why }
}

function strange(node: Node, flow: Flow): string | undefined {
  switch (node.type) {
    case 'ThisExpression':
    case 'Super':
      return 'it uses this'
    case 'MetaProperty':
      return 'it asks how it was called or loaded'
    case 'ClassDeclaration':
    case 'ClassExpression':
      return 'it makes a class'
    case 'ThrowStatement':
      return isError(node['argument']) ? undefined : 'it throws what is not a plain error'
    default: {
      const isForeign = changesAt(node).some((target) => !isOwnChange(target, flow))
      return isForeign ? 'it may change what it is handed' : undefined
    }
  }
}

/** `new TypeError(text)`: a copy is indistinguishable. */
function isError(node: Node): boolean {
  if (node.type !== 'NewExpression' && node.type !== 'CallExpression') return false
  const callee: Node = node['callee']
  const isBuiltIn =
    callee.type === 'Identifier' && !bindingOf(callee) && errors.test(callee['name'])
  return isBuiltIn && node['arguments'].length < 2
}

function isKnown(name: Node, names: NameIndex): boolean {
  const binding = bindingOf(name)
  const all = binding ? names.bound.get(binding) : names.free
  return all?.includes(name) ?? false
}

const pureMethods = new Set(['includes', 'indexOf', 'lastIndexOf', 'join', 'slice', 'test', 'exec'])
const takesPattern = new Set(['replace', 'replaceAll', 'match', 'split', 'search'])

/** Declaration of a constant whose copy is indistinguishable. */
function constantOf(binding: Binding, { top, names, flow }: ClosureContext): Node | undefined {
  const all = names.bound.get(binding) ?? []
  const id = all.find((name) => top.constants.has(name))
  if (!id || !isMadeOnce(id, names)) return undefined
  const init: Node = id.parent!['init']
  const reads = all.filter((name) => nameRoleOf(name).kind === 'read')
  if (flow.isPrimitive(init)) return top.constants.get(id)
  if ('regex' in init && /[gy]/.test(init['regex'].flags)) return undefined
  const isTable = 'regex' in init || isFlat(init, flow)
  return isTable && reads.every((name) => isHarmless(name)) ? top.constants.get(id) : undefined
}

function isFlat(init: Node, flow: Flow): boolean {
  if (init.type === 'ArrayExpression')
    return init['elements'].every((one: Node) => flow.isPrimitive(one))
  if (init.type !== 'ObjectExpression') return false
  return init['properties'].every((one: Node) => flow.isPrimitive(one['value']))
}

/** A use that neither mutates a constant object nor passes it on. */
function isHarmless(name: Node): boolean {
  const member = name.parent!
  if (member.type === 'CallExpression' && member['callee'] !== name) {
    const callee: Node = member['callee']
    return callee.type === 'MemberExpression' && takesPattern.has(memberKey(callee) ?? '')
  }
  if (member.type !== 'MemberExpression' || member['object'] !== name) return false
  const { parent } = member
  const isCall = parent?.type === 'CallExpression' && parent['callee'] === member
  if (isCall) return pureMethods.has(memberKey(member) ?? '')
  return parent !== undefined && changesAt(parent).length === 0
}

/** Nodes of a function, as a slice of the tree walk. */
export function nodesIn(outer: Node, tree: readonly Node[], from: number): readonly Node[] {
  let end = from + 1
  while (end < tree.length && isInside(tree[end]!, outer)) end++
  return tree.slice(from, end)
}
