import { isFunction, lookUp } from '../scope.ts'
import type { Binding, Node, Tree } from '../syntax.ts'

/** Every occurrence of a name in a program, by binding. */
export interface NameIndex {
  readonly bound: ReadonlyMap<Binding, readonly Node[]>
  /** Globals: occurrences without a binding. */
  readonly free: readonly Node[]
}

export function namesOf(tree: Tree): NameIndex {
  const bound = new Map<Binding, Node[]>()
  const free: Node[] = []
  for (const node of tree) {
    if (node.type !== 'Identifier' || !isName(node)) continue
    const binding = bindingOf(node)
    if (binding) bound.getOrInsert(binding, []).push(node)
    else free.push(node)
  }
  return { bound, free }
}

/** Binding of a name at its position; undefined for a global. */
export function bindingOf(name: Node): Binding | undefined {
  const { parent } = name
  // A declared function's own name has the inner scope, but means the outer binding.
  const isOwn = parent?.type === 'FunctionDeclaration' && parent['id'] === name
  return lookUp(name['name'], isOwn ? parent.scope : name.scope)
}

/** Role of an occurrence of a name. */
export type NameRole =
  | { readonly kind: 'value'; readonly node: Node }
  | { readonly kind: 'primitive' | 'unknown' | 'read' }
  | { readonly kind: 'function'; readonly node: Node }
  | { readonly kind: 'parameter'; readonly of: Node; readonly index: number }

const unknown = { kind: 'unknown' } as const
const primitive = { kind: 'primitive' } as const

/** Classifies an occurrence: assigned values, or `read`. */
export function nameRoleOf(name: Node): NameRole {
  const parent = name.parent!
  if (isFunction(parent)) {
    if (parent['id'] === name) return { kind: 'function', node: parent }
    const index = (parent['params'] as readonly Node[]).indexOf(name)
    return index < 0 ? { kind: 'read' } : { kind: 'parameter', of: parent, index }
  }
  switch (parent.type) {
    case 'VariableDeclarator':
      return parent['id'] === name ? declared(parent) : { kind: 'read' }
    case 'AssignmentExpression':
      return parent['left'] === name ? assigned(parent) : { kind: 'read' }
    case 'UpdateExpression':
      return primitive
    case 'AssignmentPattern':
    case 'ForInStatement':
    case 'ForOfStatement':
      return parent['left'] === name ? unknown : { kind: 'read' }
    case 'Property':
      return parent.parent!.type === 'ObjectPattern' && parent['value'] === name
        ? unknown
        : { kind: 'read' }
    case 'ArrayPattern':
    case 'RestElement':
    case 'CatchClause':
    case 'ImportDefaultSpecifier':
    case 'ImportNamespaceSpecifier':
    case 'ImportSpecifier':
      return unknown
    case 'ClassDeclaration':
    case 'ClassExpression':
      return parent['id'] === name ? unknown : { kind: 'read' }
    default:
      return { kind: 'read' }
  }
}

function declared(declarator: Node): NameRole {
  const loop = declarator.parent!.parent!
  const isLoop = loop.type === 'ForOfStatement' || loop.type === 'ForInStatement'
  if (isLoop && loop['left'] === declarator.parent) return unknown
  const init: Node | null = declarator['init']
  return init ? { kind: 'value', node: init } : primitive
}

function assigned(assignment: Node): NameRole {
  const operator: string = assignment['operator']
  const isWhole = ['=', '||=', '&&=', '??='].includes(operator)
  return isWhole ? { kind: 'value', node: assignment['right'] } : primitive
}

/** True for an identifier that is a name, not a key or a label. */
function isName(node: Node): boolean {
  const parent = node.parent
  switch (parent?.type) {
    case 'MemberExpression':
      return parent['object'] === node || parent['computed'] === true
    case 'Property':
    case 'MethodDefinition':
    case 'PropertyDefinition':
    case 'AccessorProperty':
      return parent['key'] !== node || parent['computed'] === true
    case 'BreakStatement':
    case 'ContinueStatement':
    case 'LabeledStatement':
    case 'MetaProperty':
    case 'ImportAttribute':
      return false
    case 'ImportSpecifier':
      return parent['local'] === node
    case 'ExportSpecifier':
      return parent['local'] === node && !parent.parent!['source']
    default:
      return true
  }
}

/** Innermost function around a node; undefined at the top of a module. */
export function functionAround(node: Node): Node | undefined {
  let at = node.parent
  while (at && !isFunction(at)) at = at.parent
  return at
}

export function isInside(node: Node, outer: Node): boolean {
  return node.start >= outer.start && node.end <= outer.end
}

/** Call whose callee is this name; undefined for any other use. */
export function callBy(name: Node): Node | undefined {
  const { parent } = name
  const isCall = parent?.type === 'CallExpression' && parent['callee'] === name
  return isCall && parent['optional'] !== true ? parent : undefined
}

export function isAwaited(call: Node): boolean {
  return call.parent?.type === 'AwaitExpression'
}
