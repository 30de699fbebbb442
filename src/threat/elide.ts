import { isReference } from './facts.ts'
import { lookUp } from './scope.ts'
import type { Binding, Node, Tree } from './syntax.ts'

/**
 * Removes imports used only as types from a TypeScript module without types: the compiler drops them, and the
 * imported file has no such export. They are blanked out, so that every position stays.
 */
export function withoutUnusedImports(text: string, tree: Tree): string {
  const imports = tree.filter(
    ({ type, specifiers }) => type === 'ImportDeclaration' && specifiers.length > 0,
  )
  if (imports.length === 0) return text
  const used = usedBindings(tree)
  let kept = text
  for (const node of imports) for (const [from, to] of unusedIn(node, used, text)) blank(from, to)
  return kept

  function blank(from: number, to: number): void {
    const white = text.slice(from, to).replace(/[^\n\r]/g, ' ')
    kept = kept.slice(0, from) + white + kept.slice(to)
    // A semicolon keeps the adjacent lines apart.
    if (to === from || !/^import\b/.test(text.slice(from))) return
    kept = `${kept.slice(0, from)};${kept.slice(from + 1)}`
  }
}

type Range = readonly [from: number, to: number]

function usedBindings(tree: Tree): ReadonlySet<Binding> {
  const used = new Set<Binding>()
  for (const node of tree) {
    if (node.type !== 'Identifier' || !isReference(node)) continue
    const binding = lookUp(node['name'], node.scope)
    if (binding) used.add(binding)
  }
  return used
}

function unusedIn(node: Node, used: ReadonlySet<Binding>, text: string): readonly Range[] {
  const specifiers: readonly Node[] = node['specifiers']
  const isUsed = ({ local }: Node) => {
    const binding = lookUp(local.name, node.scope)
    return binding === undefined || used.has(binding)
  }
  const unused = specifiers.filter((one) => !isUsed(one))
  if (unused.length === specifiers.length) return [[node.start, node.end]]
  return unused
    .filter(({ type }) => type === 'ImportSpecifier')
    .map((one) => [one.start, pastComma(one, specifiers, text)] as const)
}

/** Skips one comma: a list may end with a comma, but not begin with one. */
function pastComma(one: Node, all: readonly Node[], text: string): number {
  const next = all[all.indexOf(one) + 1]
  if (next) return next.start
  return text[one.end] === ',' ? one.end + 1 : one.end
}
