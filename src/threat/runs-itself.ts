import type { Facts } from './facts.ts'
import { isFunction, lookUp } from './scope.ts'
import type { Binding, Node } from './syntax.ts'

/**
 * True for a Node module that is a program despite its default export: the export is a class, the file calls it
 * itself, or tests whether it is the main module.
 */
export function runsItself({ tree, calls, references }: Facts): boolean {
  const exported = defaultOf(tree)
  if (exported?.type === 'ClassDeclaration' || exported?.type === 'ClassExpression') return true
  if (references.some(({ path }) => path === 'require.main')) return true
  if (tree.some((node) => isMainQuestion(node))) return true
  const binding = bindingOf(exported)
  if (!binding) return false
  if (binding.sources.some((source) => 'node' in source && source.node.type.startsWith('Class')))
    return true
  const own = new Set(binding.sources.flatMap((source) => ('node' in source ? [source.node] : [])))
  return calls.some(({ node }) => bindingOf(node['callee']) === binding && !isInside(node, own))
}

function defaultOf(tree: readonly Node[]): Node | undefined {
  for (const node of tree) {
    if (node.type === 'ExportDefaultDeclaration') return node['declaration'] as Node
    if (node.type !== 'ExportNamedDeclaration' || node['source']) continue
    const named = node['specifiers'].find(({ exported }: Node) => exported.name === 'default')
    if (named) return named.local as Node
  }
  return undefined
}

/** `import.meta.main`, or a comparison of the file's own URL with `argv[1]`. */
function isMainQuestion({ type, object, property }: Node): boolean {
  return type === 'MemberExpression' && object.type === 'MetaProperty' && property.name === 'main'
}

function bindingOf(node: Node | undefined): Binding | undefined {
  if (!node) return undefined
  if (node.type === 'Identifier') return lookUp(node['name'], node.scope)
  const isNamed = node.type === 'FunctionDeclaration' && node['id']
  return isNamed ? lookUp(node['id'].name, node.scope) : undefined
}

function isInside(node: Node, functions: ReadonlySet<Node>): boolean {
  for (let at: Node | undefined = node; at; at = at.parent)
    if (isFunction(at) && functions.has(at)) return true
  return false
}
