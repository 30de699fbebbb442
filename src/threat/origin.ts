/** Expressions and literals that names lead to, and the object that `this` is, by the structure of a source alone. */
import { isFunction, lookUp } from './scope.ts'
import type { Node, Source } from './syntax.ts'

/** Maximum nesting of expressions, aliases included. */
export const nestingMax = 200

/** Expression that a name holds, if it holds nothing else. */
export function heldExpression(node: Node, depth = 0): Node {
  if (node.type !== 'Identifier' || depth > nestingMax) return node
  const source = soleSource(node)
  if (source?.kind !== 'expression' || source.path.length > 0) return node
  return heldExpression(source.node, depth + 1)
}

/** The only value of a name; a copy of the list would cost its length at each read of the name. */
export function soleSource({ name, scope }: Node): Source | undefined {
  const sources = lookUp(name, scope)?.sources
  return sources?.length === 1 ? sources[0] : undefined
}

/** The literal of an expression, directly or through names that hold nothing else. */
export function literalOf(node: Node, depth = 0): Node | undefined {
  const origin = heldExpression(node, depth)
  return origin.type === 'ObjectExpression' || origin.type === 'ArrayExpression'
    ? origin
    : undefined
}

/** Literal, or class whose static member a member of this expression is, or its `body` for one of an instance. */
export function holderOf(node: Node, depth: number): Node | undefined {
  const origin = node.type === 'ThisExpression' ? ownerOfThis(node) : heldExpression(node, depth)
  switch (origin?.type) {
    case 'ArrayExpression':
    case 'ClassBody':
    case 'ObjectExpression':
      return origin
    case 'NewExpression':
      return classIn(heldExpression(origin['callee'], depth))?.['body']
    default:
      return origin && classIn(origin)
  }
}

/** Class that an expression is, or that is declared by its name. */
function classIn(origin: Node): Node | undefined {
  switch (origin.type) {
    case 'ClassDeclaration':
    case 'ClassExpression':
      return origin
    case 'Identifier': {
      const source = soleSource(origin)
      const isDeclared = source?.kind === 'function' && source.node.type === 'ClassDeclaration'
      return isDeclared ? source.node : undefined
    }
    default:
      return undefined
  }
}

/** False for a name, as most are, of a global, or of which neither a literal, a class nor a member is known. */
export function mayHold({ name, scope }: Node): boolean {
  const binding = lookUp(name, scope)
  if (!binding || binding.members) return binding !== undefined
  const source = binding.sources.length === 1 ? binding.sources[0]! : undefined
  if (source?.kind === 'expression') return source.path.length === 0
  return source?.kind === 'function' && source.node.type === 'ClassDeclaration'
}

/** Class or object literal whose method or field `this` is in: the class for a static one, else its body. */
function ownerOfThis(node: Node): Node | undefined {
  let at = node.parent
  while (at && (!isFunction(at) || at.type === 'ArrowFunctionExpression')) {
    if (at.type === 'PropertyDefinition' || at.type === 'StaticBlock') break
    at = at.parent
  }
  const member = at && isFunction(at) ? at.parent : at
  if (member?.type === 'Property') return member.parent
  if (member?.parent?.type !== 'ClassBody') return undefined
  return member['static'] || member.type === 'StaticBlock' ? member.parent.parent : member.parent
}

/** True if `this` is the global object: at the top level, or in a plain function called in place. */
export function isTopThis(node: Node): boolean {
  for (let at = node.parent; at; at = at.parent) {
    if (at.type === 'ArrowFunctionExpression') continue
    if (isFunction(at)) return isCalledPlainly(at)
    if (at.type === 'PropertyDefinition' || at.type === 'StaticBlock') return false
  }
  return true
}

function isCalledPlainly(node: Node): boolean {
  const { parent } = node
  const isCalled = parent?.type === 'CallExpression' && parent['callee'] === node
  return Boolean(node['wrapper']) || (node.type === 'FunctionExpression' && isCalled)
}
