/** An ESTree node, with parent and scope after `bindScopes`. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  parent?: Node | undefined
  scope?: LexicalScope | undefined
  // Fields depend on the node type, and come unvalidated from the parser.
  readonly [field: string]: any
}

export interface LexicalScope {
  readonly parent: LexicalScope | undefined
  /** True if `var` and `this` belong to this scope. */
  readonly isFunction: boolean
  readonly bindings: Map<string, Binding>
}

/** A name in a scope, with every value ever assigned to it: it may hold any of these. */
export interface Binding {
  readonly name: string
  readonly sources: Source[]
  /** Also assigned values that are unknown: a loop's variable, `++`, an argument. */
  unknown: boolean
}

export type Source =
  | { readonly kind: 'expression'; readonly node: Node; readonly path: readonly PatternStep[] }
  /** `name += expression` */
  | { readonly kind: 'append'; readonly node: Node }
  | { readonly kind: 'import'; readonly module: string; readonly name: string | undefined }
  | { readonly kind: 'function'; readonly node: Node }

/** A key on the path through a destructuring pattern; a node if computed. */
export type PatternStep = string | Node

/** Nodes in source order, parents before children, the program first. */
export type Tree = readonly Node[]
