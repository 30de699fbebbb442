import type { Value } from './constant.ts'

/** An ESTree node, with parent and scope after `bindScopes`. V8 adds three properties to an object by one allocation. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  parent?: Node | undefined
  scope?: LexicalScope | undefined
  /** Static value, once it was asked for. A `WeakMap` of values cost a table, and the collector passes over its keys. */
  known?: Known | undefined
  // Fields depend on the node type, and come unvalidated from the parser.
  readonly [field: string]: any
}

export interface LexicalScope {
  readonly parent: LexicalScope | undefined
  /** True if `var` and `this` belong to this scope. */
  readonly isFunction: boolean
  /** Undefined until the first name: most blocks have none. */
  bindings: Map<string, Binding> | undefined
  /** Expressions that this function returns; undefined until the first. */
  returns: Node[] | undefined
}

/** A static value, null for an expression without one, or the mark of one that is being evaluated. */
export type Known = Value | null | symbol

/** A name in a scope, with every value ever assigned to it: it may hold any of these. */
export interface Binding {
  readonly name: string
  readonly sources: Source[]
  /** Also assigned values that are unknown: a loop's variable, `++`, an argument. */
  unknown: boolean
  /** Static value, once it was asked for; null for none. */
  known: Value | null | undefined
  /** Expressions assigned to members of it, by key: `name.key = expression`. */
  members: Map<string, Node[]> | undefined
}

export type Source =
  | { readonly kind: 'expression'; readonly node: Node; readonly path: readonly PatternStep[] }
  /** `name += expression` */
  | { readonly kind: 'append'; readonly node: Node }
  /** An element of a list, by a loop or a callback. */
  | { readonly kind: 'element'; readonly node: Node }
  | { readonly kind: 'import'; readonly module: string; readonly name: string | undefined }
  | { readonly kind: 'function'; readonly node: Node }

/** A key on the path through a destructuring pattern; a node if computed. */
export type PatternStep = string | Node

/** Names and members that a pattern binds or assigns, without keys and default values: `[a.b, c.d] = e` has two. */
export function leavesOf(pattern: Node): readonly Node[] {
  const leaves: Node[] = []
  const stack: (Node | null)[] = [pattern]
  while (stack.length > 0) {
    const node = stack.pop()
    if (!node) continue
    const parts: readonly (Node | null)[] | undefined = node['properties'] ?? node['elements']
    if (parts) stack.push(...parts)
    else if (node.type === 'Property') stack.push(node['value'])
    else if (node.type === 'AssignmentPattern') stack.push(node['left'])
    else if (node.type === 'RestElement') stack.push(node['argument'])
    else if (node.type === 'ChainExpression') stack.push(node['expression'])
    else leaves.push(node)
  }
  return leaves
}

/** Target of an assignment, an update or a deletion. */
export function targetOf(node: Node): Node | undefined {
  if (node.type === 'AssignmentExpression') return node['left'] as Node
  const isChange = node.type === 'UpdateExpression' || node['operator'] === 'delete'
  return isChange ? (node['argument'] as Node) : undefined
}

/** Nodes in source order, parents before children, the program first. */
export type Tree = readonly Node[]
