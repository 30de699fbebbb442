import { isFunction } from './scope.ts'
import type { Node, Tree } from './syntax.ts'

/**
 * Cyclomatic complexity, counted as ESLint's rule `complexity` counts it (its classic variant): each function, class
 * field initialiser and static block starts at 1 and gains 1 for each `if`, `?:`, `for`, `for in`, `for of`,
 * `while`, `do`, `case` with a test, `catch`, `&&`, `||`, `??`, logical assignment, default value and optional
 * chaining link. `total` is the sum; the top level of a module or program, of which ESLint says nothing, adds its
 * decisions alone. `bodyCounts`: true if the wrapper function of a body counts as one of them.
 */
export function complexityOf(tree: Tree, { bodyCounts = true } = {}): Complexity {
  const owners = new Map<Node | undefined, number>()
  const add = (owner: Node | undefined) => owners.set(owner, (owners.get(owner) ?? 0) + 1)
  // An iterator allocates for each node until this loop is optimised.
  for (let index = 0; index < tree.length; index++) {
    const node = tree[index]!
    if (isFunction(node) && (bodyCounts || !node['wrapper'])) add(node)
    if (node.type === 'StaticBlock') add(node)
    if (isInitializer(node)) add(node.parent)
    if (decides(node)) add(ownerOf(node))
  }
  const top = owners.get(undefined) ?? 0
  owners.delete(undefined)
  const functions = [...owners].map(([node, complexity]) => ({ start: node!.start, complexity }))
  const sum = functions.reduce((total, { complexity }) => total + complexity, top)
  return { total: Math.max(1, sum), functions }
}

export interface Complexity {
  readonly total: number
  /** `start`: the offset of the function in the parsed text. */
  readonly functions: readonly { readonly start: number; readonly complexity: number }[]
}

const decisions = new Set([
  'AssignmentPattern',
  'CatchClause',
  'ConditionalExpression',
  'DoWhileStatement',
  'ForInStatement',
  'ForOfStatement',
  'ForStatement',
  'IfStatement',
  'LogicalExpression',
  'WhileStatement',
])
const logicalAssignments = new Set(['&&=', '||=', '??='])

function decides(node: Node): boolean {
  if (decisions.has(node.type)) return true
  if (node.type === 'SwitchCase') return Boolean(node['test'])
  if (node.type === 'AssignmentExpression') return logicalAssignments.has(node['operator'])
  return (
    (node.type === 'MemberExpression' || node.type === 'CallExpression') &&
    node['optional'] === true
  )
}

function isInitializer(node: Node): boolean {
  const { parent } = node
  return (
    (parent?.type === 'PropertyDefinition' || parent?.type === 'AccessorProperty') &&
    parent['value'] === node
  )
}

function ownerOf(node: Node): Node | undefined {
  for (let at: Node | undefined = node; at; at = at.parent) {
    if (at !== node && isFunction(at)) return at
    if (at.type === 'StaticBlock') return at
    if (isInitializer(at)) return at.parent
  }
  return undefined
}
