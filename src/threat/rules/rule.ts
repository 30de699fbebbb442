import type { PatternName } from '../../contract/verdict.ts'
import type { Facts, Reference } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { textOf } from '../value.ts'

/** A pattern's rule: each returned node is one occurrence. Pure. */
export interface Rule {
  readonly name: PatternName
  find(facts: Facts): Iterable<Node>
}

/** True for a use beyond a feature test (`typeof`, comparison). */
export function isReached({ use }: Reference): boolean {
  return use !== 'typeof' && use !== 'compare'
}

/** True if a path is a root or a member of it. */
export function isPathWithin(path: string, root: string): boolean {
  return path.startsWith(root) && (path.length === root.length || path[root.length] === '.')
}

/** Each use of these globals, or of a member of one. */
export function* usesOfPaths(facts: Facts, roots: readonly string[]): Generator<Node> {
  for (const reference of facts.references)
    if (isReached(reference) && isWithinAny(reference.path, roots)) yield reference.node
}

/** Asked for each reference by each rule: without a function for each, and without an iterator. */
export function isWithinAny(path: string, roots: readonly string[]): boolean {
  for (let index = 0; index < roots.length; index++)
    if (isPathWithin(path, roots[index]!)) return true
  return false
}

/**
 * Loads of these modules, and each use of a loaded one. A use in the same expression as the load
 * (`require('fs').rm`) counts once.
 */
export function* usesOfModules(facts: Facts, modules: ReadonlySet<string>): Generator<Node> {
  for (const { node, module } of facts.loads) {
    if (module !== undefined && modules.has(moduleRoot(module))) yield node
  }
  for (const { node, path } of facts.references) {
    if (!path.startsWith('module:') || isLoad(node)) continue
    const [name = ''] = path.slice('module:'.length).split('.')
    if (modules.has(moduleRoot(name))) yield node
  }
}

/** Loads of these built-in bindings of Node. */
export function* usesOfBindings(facts: Facts, names: ReadonlySet<string>): Generator<Node> {
  for (const { node, callee, given } of facts.calls)
    if (callee !== undefined && bindings.has(callee) && names.has(textOf(given[0]) ?? ''))
      yield node
}

const bindings = new Set([
  'process.binding',
  'process._binding',
  'process.linkedBinding',
  'process._linkedBinding',
])

/** Maps `fs/promises` and `node:fs` to `fs`. */
export function moduleRoot(module: string): string {
  const bare = module.replace(/^node:/, '')
  return bare.startsWith('@') ? bare : bare.split('/')[0]!
}

function isLoad(node: Node): boolean {
  let at = node
  while (at.type === 'MemberExpression') at = at['object']
  while (at.type === 'AwaitExpression' || at.type === 'ChainExpression') {
    at = at['argument'] ?? at['expression']
  }
  return at.type === 'CallExpression' || at.type === 'ImportExpression'
}
