import type { Node, Tree } from '../syntax.ts'
import { statementsOf, wrapperOf } from '../parse.ts'
import { isFunction } from '../scope.ts'
import { pathOf } from '../value.ts'
import { bindingOf, nameRoleOf, type NameIndex } from './names.ts'

/** A top-level function: a candidate for a zone. */
export interface TopFunction {
  readonly name: string
  readonly id: Node
  readonly node: Node
  /** The whole statement. */
  readonly statement: Node
  readonly isExported: boolean
  /** True if it exists before any statement runs. */
  readonly isEarly: boolean
}

export interface TopLevel {
  readonly statements: readonly Node[]
  readonly functions: readonly TopFunction[]
  /** Classes: never zones, but reported. */
  readonly classes: readonly TopFunction[]
  /** Constant declarations that exist before any code runs, by name. */
  readonly constants: ReadonlyMap<Node, Node>
  readonly directives: readonly Node[]
  /** Functions called from outside. */
  readonly entries: ReadonlySet<Node>
}

/** Top level of a program: of the function around a body, else of the module. */
export function topOf(program: Node, tree: Tree): TopLevel {
  const wrapper = wrapperOf(program)
  const statements = statementsOf(program)
  const late = statements.findIndex((one) => !isDeclaration(one))
  const early = late < 0 ? statements : statements.slice(0, late)
  const constants = new Map(early.flatMap(constantIn))
  const functions = statements.flatMap((statement) => functionsIn(statement, early))
  const classes = statements.flatMap(classIn)
  const directives = statements.filter((one) => typeof one['directive'] === 'string')
  const entries = new Set(tree.filter(isEntry))
  if (wrapper) entries.add(wrapper)
  return { statements, functions, classes, constants, directives, entries }
}

/** True if a function in a block, whose name may be visible outside, shares a name. */
export function hasStrayFunction(tree: Tree, top: TopLevel, names: NameIndex): boolean {
  const tops = new Set(top.functions.map(({ statement }) => statement))
  const strays = tree.filter(
    (node) =>
      node.type === 'FunctionDeclaration' &&
      node['id'] &&
      !tops.has(node) &&
      !isFunction(node.parent?.parent ?? node.parent!) &&
      node.parent?.type !== 'ExportDefaultDeclaration' &&
      node.parent?.type !== 'ExportNamedDeclaration',
  )
  const taken = new Set([
    ...top.functions.map(({ name }) => name),
    ...names.free.map((name) => String(name['name'])),
  ])
  return strays.some((node) => taken.has(node['id'].name))
}

function isDeclaration(statement: Node): boolean {
  switch (statement.type) {
    case 'FunctionDeclaration':
    case 'ImportDeclaration':
    case 'EmptyStatement':
      return true
    case 'ExpressionStatement':
      return typeof statement['directive'] === 'string'
    case 'ExportNamedDeclaration':
      return statement['declaration'] !== null && isDeclaration(statement['declaration'])
    case 'VariableDeclaration':
      return (
        statement['kind'] === 'const' &&
        statement['declarations'].every((one: Node) => one['init'] && isStill(one['init']))
      )
    default:
      return false
  }
}

/** True if its initialiser runs no code of the program. */
function isStill(init: Node): boolean {
  if (isFunction(init)) return true
  if (init.type === 'ArrayExpression')
    return init['elements'].every((one: Node | null) => one !== null && isStill(one))
  if (init.type === 'ObjectExpression')
    return init['properties'].every(
      (one: Node) => one.type === 'Property' && !one['computed'] && isStill(one['value']),
    )
  if (init.type === 'UnaryExpression') return isStill(init['argument'])
  if (init.type === 'BinaryExpression') return isStill(init['left']) && isStill(init['right'])
  if (init.type === 'TemplateLiteral') return init['expressions'].length === 0
  return init.type === 'Literal'
}

function constantIn(statement: Node): readonly (readonly [Node, Node])[] {
  if (statement.type !== 'VariableDeclaration') return []
  const [only, ...more]: readonly Node[] = statement['declarations']
  const isOne = only && more.length === 0 && only['id'].type === 'Identifier'
  return isOne && !isFunction(only['init']) ? [[only['id'], statement]] : []
}

/** Declaration in an export, or the statement itself. */
function declarationIn(statement: Node) {
  const isExported =
    statement.type === 'ExportNamedDeclaration' || statement.type === 'ExportDefaultDeclaration'
  const inner: Node | null = isExported ? statement['declaration'] : statement
  return { inner, common: { statement, isExported } }
}

function functionsIn(statement: Node, early: readonly Node[]): readonly TopFunction[] {
  const { inner, common } = declarationIn(statement)
  if (inner?.type === 'FunctionDeclaration' && inner['id'])
    return [{ ...common, name: inner['id'].name, id: inner['id'], node: inner, isEarly: true }]
  if (inner?.type !== 'VariableDeclaration') return []
  const isAlone = inner['declarations'].length === 1 && inner['kind'] === 'const'
  return inner['declarations'].flatMap((one: Node) => {
    if (one['id'].type !== 'Identifier' || !one['init'] || !isFunction(one['init'])) return []
    const isEarly = isAlone && early.includes(statement)
    return [{ ...common, name: one['id'].name, id: one['id'], node: one['init'], isEarly }]
  })
}

function classIn(statement: Node): readonly TopFunction[] {
  const { inner: node, common } = declarationIn(statement)
  if (node?.type !== 'ClassDeclaration' || !node['id']) return []
  return [{ ...common, name: node['id'].name, id: node['id'], node, isEarly: false }]
}

/** A default export, or an assignment to `exports`: it is called with JSON. */
function isEntry(node: Node): boolean {
  if (!isFunction(node)) return false
  const { parent } = node
  if (parent?.type === 'ExportDefaultDeclaration') return true
  if (parent?.type !== 'AssignmentExpression' || parent['right'] !== node) return false
  return /^(?:module\.)?exports(?:\.|$)/.test(pathOf(parent['left']) ?? '')
}

/** True if a name is assigned only once, at its declaration. */
export function isMadeOnce(id: Node, names: NameIndex): boolean {
  const binding = bindingOf(id)
  const all = (binding && names.bound.get(binding)) ?? []
  return all.filter((name) => nameRoleOf(name).kind !== 'read').length === 1
}
