import { isFunction } from './scope.ts'
import { leavesOf, targetOf, type Node, type Tree } from './syntax.ts'
import { calledBy, memberKey, pathOf, textsOf } from './value.ts'

/** Input of the rules: references, calls, loads and writes of a source. */
export interface Facts {
  /** Every reference to a global, a module or a member of one, once each, with aliases resolved. */
  readonly references: readonly Reference[]
  /** Calls and constructions, with the callee if it is known. */
  readonly calls: readonly Call[]
  readonly loads: readonly ModuleLoad[]
  readonly writes: readonly MemberWrite[]
  /** Binary expressions by `-`. */
  readonly subtractions: readonly Node[]
  /** Properties `method` of object literals and patterns. */
  readonly methods: readonly Node[]
  readonly tree: Tree
}

export interface Reference {
  readonly node: Node
  readonly path: string
  readonly use: Use
}

export type Use = 'call' | 'new' | 'read' | 'write' | 'typeof' | 'compare'

export interface Call {
  readonly node: Node
  readonly callee: string | undefined
  readonly given: readonly Node[]
}

/** A module loaded by name; undefined if the name is dynamic. */
export interface ModuleLoad {
  readonly node: Node
  readonly how: 'import' | 'export' | 'dynamic' | 'require'
  readonly module: string | undefined
}

/** Assignment, update or deletion of a member. */
export interface MemberWrite {
  readonly node: Node
  readonly key: string | undefined
  readonly object: string | undefined
}

export function factsOf(tree: Tree): Facts {
  const facts = {
    references: [] as Reference[],
    calls: [] as Call[],
    loads: [] as ModuleLoad[],
    writes: [] as MemberWrite[],
    subtractions: [] as Node[],
    methods: [] as Node[],
    tree,
  }
  for (let index = 0; index < tree.length; index++) gather(tree[index]!, facts)
  return facts
}

interface Gathered extends Facts {
  readonly references: Reference[]
  readonly calls: Call[]
  readonly loads: ModuleLoad[]
  readonly writes: MemberWrite[]
  readonly subtractions: Node[]
  readonly methods: Node[]
}

function gather(node: Node, facts: Gathered): void {
  switch (node.type) {
    case 'Identifier':
      if (isReference(node)) refer(node, facts)
      return
    case 'MemberExpression':
      return refer(node, facts)
    case 'CallExpression':
    case 'NewExpression':
      return gatherCall(node, facts)
    case 'BinaryExpression':
      if (node['operator'] === '-') facts.subtractions.push(node)
      return
    case 'Property':
      if (node['key'].name === 'method') facts.methods.push(node)
      return
    case 'ImportDeclaration':
      facts.loads.push({ node, how: 'import', module: String(node['source'].value) })
      return
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
      if (node['source']) {
        facts.loads.push({ node, how: 'export', module: String(node['source'].value) })
      }
      return
    case 'ImportExpression':
      return load(facts, node, 'dynamic', node['source'])
    case 'AssignmentExpression':
      if (node['operator'] === '-=') facts.subtractions.push(node)
      return gatherWrites(node, facts)
    case 'ForInStatement':
    case 'ForOfStatement':
    case 'UnaryExpression':
    case 'UpdateExpression':
      return gatherWrites(node, facts)
    default:
  }
}

/** Loads each module that the name may be; one without a name if it is dynamic. */
function load(facts: Gathered, node: Node, how: ModuleLoad['how'], name: Node | undefined): void {
  const names = textsOf(name)
  for (const module of names.length > 0 ? names : [undefined])
    facts.loads.push({ node, how, module })
}

function refer(node: Node, facts: Gathered): void {
  const path = pathOf(node)
  if (path === undefined || path === 'globalThis' || isResult(path)) return
  const { parent } = node
  const larger = parent?.type === 'MemberExpression' && parent['object'] === node
  if (larger) {
    const whole = pathOf(parent)
    if (whole !== undefined && !isResult(whole)) return
  }
  facts.references.push({ node, path, use: useOf(node) })
}

/** A call's result is no new reference: the call itself is the occurrence. */
function isResult(path: string): boolean {
  return path === '%fn' || path.includes('()') || path.startsWith('new ')
}

function gatherCall(node: Node, facts: Gathered): void {
  const { callee: called, given } = calledBy(node)
  const callee = pathOf(called)
  facts.calls.push({ node, callee, given })
  if (callee === 'Reflect.get' || callee === undefined || callee === '%fn') refer(node, facts)
  const path = pathOf(node)
  if (path?.startsWith('module:') || callee === 'require') {
    load(facts, node, 'require', given[0])
  }
}

function gatherWrites(node: Node, facts: Gathered): void {
  const isLoop = node.type === 'ForOfStatement' || node.type === 'ForInStatement'
  const target = isLoop ? (node['left'] as Node) : targetOf(node)
  for (const leaf of target ? leavesOf(target) : [])
    if (leaf.type === 'MemberExpression')
      facts.writes.push({ node, key: memberKey(leaf), object: pathOf(leaf['object']) })
}

const comparisons = new Set(['===', '!==', '==', '!=', 'instanceof', 'in'])

function useOf(node: Node): Use {
  let at = node
  while (at.parent?.type === 'ChainExpression') at = at.parent
  const parent = at.parent!
  switch (parent.type) {
    case 'CallExpression':
      return parent['callee'] === at ? 'call' : 'read'
    case 'TaggedTemplateExpression':
      return parent['tag'] === at ? 'call' : 'read'
    case 'NewExpression':
      return parent['callee'] === at ? 'new' : 'read'
    case 'UnaryExpression':
      return parent['operator'] === 'typeof' ? 'typeof' : 'read'
    case 'BinaryExpression':
      return comparisons.has(parent['operator']) ? 'compare' : 'read'
    case 'AssignmentExpression':
      return parent['left'] === at ? 'write' : 'read'
    default:
      return 'read'
  }
}

/** True for a name used as an expression, not a key, a label or a declaration. */
export function isReference(node: Node): boolean {
  const parent = node.parent!
  switch (parent.type) {
    case 'MemberExpression':
      return parent['object'] === node || parent['computed'] === true
    case 'Property':
      if (parent['key'] === node && !parent['computed']) return false
      return parent['key'] === node || parent.parent!.type === 'ObjectExpression'
    case 'MethodDefinition':
    case 'PropertyDefinition':
    case 'AccessorProperty':
      return parent['key'] !== node || parent['computed'] === true
    case 'VariableDeclarator':
      return parent['id'] !== node
    case 'AssignmentExpression':
    case 'AssignmentPattern':
    case 'ForInStatement':
    case 'ForOfStatement':
      return parent['left'] !== node
    case 'ExportSpecifier':
      return parent['local'] === node && !parent.parent!['source']
    case 'ClassDeclaration':
    case 'ClassExpression':
      return parent['id'] !== node
    case 'ArrowFunctionExpression':
      return parent['body'] === node
    default:
      return !isFunction(parent) && !namePlaces.has(parent.type)
  }
}

const namePlaces = new Set([
  'ArrayPattern',
  'BreakStatement',
  'CatchClause',
  'ContinueStatement',
  'ExportAllDeclaration',
  'ImportAttribute',
  'ImportDefaultSpecifier',
  'ImportNamespaceSpecifier',
  'ImportSpecifier',
  'LabeledStatement',
  'MetaProperty',
  'ObjectPattern',
  'RestElement',
])
