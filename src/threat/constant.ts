/**
 * Static value of an expression, if known: a constant, or a path from a global or a module (`process.env`,
 * `module:fs.readFile`). Paths that begin with `%` denote unnamed values: `%fn` some function, `%constructor`
 * the constructor of some object, `%Function` the constructor of functions, `%proto` some object's prototype.
 * The most suspicious of several possible values is used.
 */
export type Value = Constant | { readonly kind: 'path'; readonly path: string }

export interface Constant {
  readonly kind: 'constant'
  readonly value: Primitive | readonly Primitive[]
}

export type Primitive = string | number | boolean | null | undefined
