import { visitorKeys } from 'oxc-parser'
import type { Binding, Node, LexicalScope, Source, PatternStep, Tree } from './syntax.ts'

/**
 * Annotates a program in one walk without recursion: each node with parent and scope, each scope with its
 * names, each name with its possible values. Flow-insensitive: a name may hold any value ever assigned to it.
 */
export function bindScopes(program: Node): Tree {
  const nodes: Node[] = []
  const root: LexicalScope = newScope(undefined, true)
  program.scope = root
  const stack: Node[] = [program]
  for (let node = stack.pop(); node; node = stack.pop()) {
    nodes.push(node)
    const kind = kinds.get(node.type)
    if (kind) (node as { type: string }).type = kind.type
    node.scope ??= node.parent!.scope!
    if (node.type === 'ReturnStatement' && node['argument'])
      (functionScope(node.scope).returns ??= []).push(node['argument'])
    const inner = kind?.scope ? newScope(node.scope, kind.scope === 'function') : node.scope
    const keys = kind?.keys ?? []
    for (let index = keys.length - 1; index >= 0; index--) {
      pushChildren(stack, node[keys[index]!], node, inner)
    }
  }
  for (const node of nodes) declare(node)
  for (const node of nodes) assign(node)
  return nodes
}

/** Binding of a name at a node; undefined for a global. */
export function lookUp(name: string, from: LexicalScope | undefined): Binding | undefined {
  for (let scope = from; scope; scope = scope.parent) {
    const binding = scope.bindings?.get(name)
    if (binding) return binding
  }
  return undefined
}

function pushChildren(stack: Node[], child: unknown, parent: Node, scope: LexicalScope): void {
  if (Array.isArray(child)) {
    for (let index = child.length - 1; index >= 0; index--) {
      pushChildren(stack, child[index], parent, scope)
    }
  } else if (child) {
    const node = child as Node
    node.parent = parent
    node.scope = scope
    stack.push(node)
  }
}

function newScope(parent: LexicalScope | undefined, isFunction: boolean): LexicalScope {
  return { parent, isFunction, bindings: undefined, returns: undefined }
}

/** Nodes outside of nested functions and static blocks, with their parents. */
export function* ownNodes(
  from: readonly Node[],
): Generator<{ readonly node: Node; readonly parent: Node | undefined }> {
  const stack = from.map((node) => ({ node, parent: undefined as Node | undefined })).toReversed()
  for (let one = stack.pop(); one; one = stack.pop()) {
    yield one
    const { node } = one
    if (isFunction(node) || node.type === 'StaticBlock') continue
    for (const key of visitorKeys[node.type] ?? [])
      for (const child of [node[key]].flat()) if (child) stack.push({ node: child, parent: node })
  }
}

export function isFunction(node: Node): boolean {
  return (
    node.type === 'FunctionExpression' ||
    node.type === 'FunctionDeclaration' ||
    node.type === 'ArrowFunctionExpression'
  )
}

/** Types of nodes with a scope of their own. */
const scopes: Readonly<Record<string, 'function' | 'block' | undefined>> = {
  ArrowFunctionExpression: 'function',
  FunctionDeclaration: 'function',
  FunctionExpression: 'function',
  StaticBlock: 'function',
  BlockStatement: 'block',
  CatchClause: 'block',
  ClassExpression: 'block',
  ForInStatement: 'block',
  ForOfStatement: 'block',
  ForStatement: 'block',
  SwitchStatement: 'block',
}

/**
 * Kinds of nodes by type. The parser copies the name of a type into each node, and a comparison of two copies reads
 * both: the walk replaces them by one.
 */
const kinds = new Map(
  Object.entries(visitorKeys).map(([type, keys]) => [type, { type, keys, scope: scopes[type] }]),
)

function bind(scope: LexicalScope, name: string): Binding {
  scope.bindings ??= new Map()
  return scope.bindings.getOrInsertComputed(name, newBinding)
}

function newBinding(name: string): Binding {
  return { name, sources: [], unknown: false, known: undefined, members: undefined }
}

function functionScope(scope: LexicalScope): LexicalScope {
  let at = scope
  while (!at.isFunction) at = at.parent!
  return at
}

function declare(node: Node): void {
  switch (node.type) {
    case 'VariableDeclarator': {
      const scope = node.parent!['kind'] === 'var' ? functionScope(node.scope!) : node.scope!
      return declarePattern(node['id'], scope, declaratorSource(node), [])
    }
    case 'FunctionDeclaration':
      if (node['id']) bind(node.scope!, node['id'].name).sources.push({ kind: 'function', node })
      return declareParameters(node)
    case 'FunctionExpression':
      declareParameters(node)
      if (node['id']) {
        const own = bind(node['id'].scope, node['id'].name)
        if (own.sources.length === 0 && !own.unknown) own.sources.push({ kind: 'function', node })
      }
      return
    case 'ArrowFunctionExpression':
      return declareParameters(node)
    case 'ClassDeclaration':
      if (node['id']) bind(node.scope!, node['id'].name).sources.push({ kind: 'function', node })
      return
    case 'ClassExpression':
      if (node['id'])
        bind(node['id'].scope, node['id'].name).sources.push({ kind: 'function', node })
      return
    case 'CatchClause':
      if (node['param']) declarePattern(node['param'], node['param'].scope, undefined, [])
      return
    case 'ImportDeclaration':
      for (const specifier of node['specifiers']) declareImport(node, specifier)
      return
    default:
  }
}

function declareImport(node: Node, specifier: Node): void {
  const imported = specifier['imported']
  const name: string | undefined =
    specifier.type === 'ImportSpecifier' ? (imported.name ?? imported.value) : undefined
  bind(node.scope!, specifier['local'].name).sources.push({
    kind: 'import',
    module: String(node['source'].value),
    name: name === 'default' ? undefined : name,
  })
}

function declaratorSource(node: Node): Node | undefined {
  const list = node.parent?.parent
  const loop = list?.type === 'ForOfStatement' || list?.type === 'ForInStatement'
  return loop && list['left'] === node.parent ? undefined : (node['init'] ?? undefined)
}

/** Parameters of an immediately called function get its arguments. */
function declareParameters(node: Node): void {
  const call = node.parent
  const given: readonly Node[] =
    call?.type === 'CallExpression' && call['callee'] === node ? call['arguments'] : []
  const spread = given.findIndex(({ type }) => type === 'SpreadElement')
  for (const [index, parameter] of node['params'].entries()) {
    const known = spread < 0 || index < spread ? given[index] : undefined
    declarePattern(parameter, parameter.scope, known, [])
  }
}

type Path = readonly PatternStep[]

function declarePattern(
  pattern: Node,
  scope: LexicalScope,
  source: Node | undefined,
  path: Path,
  place: (name: Node) => Binding | undefined = ({ name }) => bind(scope, name),
): void {
  switch (pattern.type) {
    case 'Identifier': {
      const binding = place(pattern)
      if (!binding) return
      if (source) binding.sources.push({ kind: 'expression', node: source, path })
      else binding.unknown ||= !isBareDeclaration(pattern)
      return
    }
    case 'AssignmentPattern':
      declarePattern(pattern['left'], scope, source, path, place)
      return declarePattern(pattern['left'], scope, pattern['right'], [], place)
    case 'RestElement':
      return declarePattern(pattern['argument'], scope, undefined, [], place)
    case 'ArrayPattern':
      for (const [index, element] of pattern['elements'].entries()) {
        if (element) declarePattern(element, scope, source, [...path, String(index)], place)
      }
      return
    case 'ObjectPattern':
      for (const property of pattern['properties']) {
        if (property.type === 'RestElement') {
          declarePattern(property['argument'], scope, source, path, place)
        } else declarePattern(property.value, scope, source, [...path, keyOf(property)], place)
      }
      return
    default:
  }
}

/** `let a` without an initialiser: holds only later assignments. */
function isBareDeclaration(name: Node): boolean {
  const { parent } = name
  if (parent?.type !== 'VariableDeclarator') return false
  const loop = parent.parent?.parent
  return loop?.type !== 'ForOfStatement' && loop?.type !== 'ForInStatement'
}

function keyOf({ key, computed }: Node): PatternStep {
  if (computed) return key
  return key.type === 'Identifier' ? key.name : String(key.value)
}

function assign(node: Node): void {
  switch (node.type) {
    case 'AssignmentExpression':
      if (node['left'].type === 'MemberExpression') return assignMember(node['left'], node['right'])
      return node['operator'] === '+=' && node['left'].type === 'Identifier'
        ? appendTo(node['left'], node['right'])
        : assignTo(node['left'], node['right'])
    case 'UpdateExpression':
      return assignTo(node['argument'], undefined)
    case 'ForOfStatement':
      takeElements(node['left'].declarations?.[0].id ?? node['left'], node['right'])
      if (node['left'].type !== 'VariableDeclaration') assignTo(node['left'], undefined)
      return
    case 'ForInStatement':
      if (node['left'].type !== 'VariableDeclaration') assignTo(node['left'], undefined)
      return
    case 'CallExpression':
      return passArguments(node)
    default:
  }
}

function assignTo(target: Node, source: Node | undefined): void {
  declarePattern(target, target.scope!, source, [], ({ name, scope }) => lookUp(name, scope))
}

/** Maximum expressions kept for one member of a name. */
const membersMax = 8

/** `name.key = expression` and `name["key"] = expression`. */
function assignMember({ object, property, computed }: Node, source: Node): void {
  if (object.type !== 'Identifier') return
  const key: unknown = computed ? property.value : property.name
  const binding = typeof key === 'string' ? lookUp(object.name, object.scope) : undefined
  if (!binding) return
  binding.members ??= new Map()
  const known = binding.members.getOrInsertComputed(key as string, () => [])
  if (known.length < membersMax) known.push(source)
}

/** The name of a loop or of a callback holds each element of a list. */
function takeElements(name: Node | undefined, list: Node): void {
  if (name?.type !== 'Identifier') return
  const binding = lookUp(name['name'], name.scope)
  if (binding && binding.sources.length < argumentsMax)
    binding.sources.push({ kind: 'element', node: list })
}

const perElement = new Set(['every', 'filter', 'find', 'flatMap', 'forEach', 'map', 'some'])

function appendTo({ name, scope }: Node, node: Node): void {
  lookUp(name, scope)?.sources.push({ kind: 'append', node })
}

/** Maximum functions and arguments followed through calls by name. */
const argumentsMax = 16

/** A function called by name gets the arguments of each call. */
function passArguments(call: Node): void {
  const { callee } = call as unknown as { callee: Node }
  if (callee.type === 'MemberExpression' && perElement.has(callee['property'].name)) {
    const [callback]: readonly Node[] = call['arguments']
    if (callback && isFunction(callback)) takeElements(callback['params'][0], callee['object'])
  }
  if (callee.type !== 'Identifier') return
  const binding = lookUp(callee['name'], callee.scope)
  for (const source of binding?.sources.slice(0, argumentsMax) ?? []) {
    const called = functionOf(source)
    if (!called) continue
    for (const [index, argument] of call['arguments'].slice(0, argumentsMax).entries()) {
      const parameter: Node | undefined = called['params'][index]
      if (argument.type === 'SpreadElement' || !parameter) break
      const name: Node = parameter.type === 'AssignmentPattern' ? parameter['left'] : parameter
      declarePattern(name, name.scope!, argument, [], roomFor)
    }
  }
}

function roomFor({ name, scope }: Node): Binding | undefined {
  const binding = lookUp(name, scope)
  return binding && binding.sources.length < argumentsMax ? binding : undefined
}

function functionOf(source: Source): Node | undefined {
  if (source.kind !== 'expression' && source.kind !== 'function') return undefined
  if (source.kind === 'expression' && source.path.length > 0) return undefined
  return isFunction(source.node) ? source.node : undefined
}
