/** A node of the tree, as ESTree has it, with its parent and scope once `bindScopes` has seen it. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  parent?: Node | undefined
  scope?: Scope | undefined
  // Each kind of node has fields of its own, and they come from a parser that checked nothing for us.
  readonly [field: string]: any
}

export interface Scope {
  readonly parent: Scope | undefined
  /** Whether `var` and `this` belong here. */
  readonly isFunction: boolean
  readonly bindings: Map<string, Binding>
}

/** A name in a scope, with everything that is ever put into it: any of these it may hold. */
export interface Binding {
  readonly name: string
  readonly sources: Source[]
  /** Set when it also takes values that nobody can tell: a loop's variable, `++`, an argument. */
  unknown: boolean
}

export type Source =
  | { readonly kind: 'expression'; readonly node: Node; readonly path: readonly Step[] }
  /** `name += expression` */
  | { readonly kind: 'append'; readonly node: Node }
  | { readonly kind: 'import'; readonly module: string; readonly name: string | undefined }
  | { readonly kind: 'function'; readonly node: Node }

/** One key on the way through a destructuring pattern; an expression when it is computed. */
export type Step = string | Node

/** Nodes in the order of the source, parents before children, with the program first. */
export type Tree = readonly Node[]
