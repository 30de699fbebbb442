import type { PatternName } from '../../contract/verdict.ts'
import type { Facts, Reference } from '../facts.ts'
import type { Node } from '../syntax.ts'

/** One pattern: each node it returns is one occurrence. Pure. */
export interface Rule {
  readonly name: PatternName
  find(facts: Facts): Iterable<Node>
}

/** Whether a reference is more than a question whether the thing is there, or the same. */
export function isReached({ use }: Reference): boolean {
  return use !== 'typeof' && use !== 'compare'
}

/** Whether a path is a root or something in it. */
export function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(`${root}.`)
}

/**
 * Where a source loads one of these modules, and each use of what it loaded. A use in the same expression as the
 * load (`require('fs').rm`) is one occurrence with it.
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

/** `fs/promises` and `node:fs` are `fs`. */
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
