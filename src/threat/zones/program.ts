import { isFunction } from '../scope.ts'
import { leavesOf, targetOf, type Node, type Tree } from '../syntax.ts'
import { memberKey, pathOf, textOf } from '../value.ts'
import { nameOf, type Flow } from './flow.ts'
import {
  bindingOf,
  callBy,
  functionAround,
  isAwaited,
  nameRoleOf,
  type NameIndex,
} from './names.ts'
import { loosening, looseningKeys, mutatingMethods } from './builtin-names.ts'

/** Reason why a program may not be split; undefined if it may. */
export interface ProgramTraits {
  readonly why: string | undefined
  /** Every object is mutated only through the one name it was created for. */
  readonly isTame: boolean
  /** Objects are compared, or looked up, by identity. */
  readonly hasIdentity: boolean
  /** Names whose objects are mutated after creation. */
  readonly changed: ReadonlySet<Node>
}

const concurrent = 'the program does more than one thing at a time'
const reaching = 'the program could reach what all of its code shares'

/**
 * Checks the preconditions of a split: sequential execution, so that a slower call only takes longer; and
 * unmodified built-ins, which are then equal in each zone.
 */
export function programOf(
  tree: Tree,
  names: NameIndex,
  flow: Flow,
  entries: ReadonlySet<Node>,
): ProgramTraits {
  const changes = tree.flatMap(changesAt)
  const wild = changes.filter((target) => !isOwnChange(target, flow) && !isExport(target))
  const why =
    sharedReached(tree, names, wild) ??
    concurrency(tree, names, flow, entries) ??
    dynamic(tree, flow, wild.length > 0)
  return {
    why,
    isTame: wild.length === 0,
    hasIdentity: tree.some((node) => comparesObjects(node, flow)),
    changed: new Set(changes.filter(({ type }) => type === 'Identifier')),
  }
}

/** Objects that a node mutates: the expression before the last key. */
export function changesAt(node: Node): readonly Node[] {
  if (node.type === 'CallExpression') return changedByCall(node)
  const isLoop = node.type === 'ForInStatement' || node.type === 'ForOfStatement'
  // A loop that declares its variable has no members there.
  const target: Node | undefined = isLoop ? node['left'] : targetOf(node)
  return (target ? leavesOf(target) : [])
    .filter(({ type }) => type === 'MemberExpression')
    .map(({ object }) => object as Node)
}

const definers =
  /^Object\.(?:assign|definePropert(?:y|ies)|setPrototypeOf|freeze|seal|preventExtensions)$/

function changedByCall(call: Node): readonly Node[] {
  const callee: Node = call['callee']
  const [first]: readonly Node[] = call['arguments']
  if (definers.test(pathOf(callee) ?? '')) return first ? [first] : []
  if (callee.type !== 'MemberExpression') return []
  const key = memberKey(callee)
  return key !== undefined && mutatingMethods.has(key) ? [callee['object']] : []
}

/** Mutates something created for this name alone, or by this very expression. */
export function isOwnChange(target: Node, flow: Flow): boolean {
  return target.type === 'Identifier' ? flow.holdsFresh(target) : flow.isFresh(target)
}

function isExport(target: Node): boolean {
  const path = pathOf(target)
  return path === 'exports' || path === 'module' || path === 'module.exports'
}

function sharedReached(tree: Tree, names: NameIndex, wild: readonly Node[]): string | undefined {
  const isNamed = (name: Node) => loosening.has(name['name']) && !isPause(name)
  if (names.free.some((name) => isNamed(name) && name['name'] !== 'Promise')) {
    const timers = /^(?:set|queue|Abort|EventTarget)/
    const named = names.free.find(isNamed)!
    return timers.test(named['name']) ? concurrent : reaching
  }
  if (names.free.some(isNamed)) return concurrent
  if (names.free.some((name) => nameRoleOf(name).kind !== 'read')) return reaching
  if (tree.some(reachesByKey) || wild.some(isBuiltIn)) return reaching
  if (tree.some(({ type }) => type === 'WithStatement' || type === 'ImportExpression'))
    return reaching
  return tree.some((node) => node.type === 'ThisExpression' && !isInClass(node))
    ? reaching
    : undefined
}

/** `await new Promise((done) => setTimeout(done, …))`: no other code of the program runs during it. */
export function isPause(name: Node): boolean {
  const made = name['name'] === 'Promise' ? name.parent : functionAround(name)?.parent
  if (made?.type !== 'NewExpression' || made.parent?.type !== 'AwaitExpression') return false
  if (made['callee'].type !== 'Identifier' || made['callee']['name'] !== 'Promise') return false
  const [wait, ...more]: readonly Node[] = made['arguments']
  if (!wait || more.length > 0 || wait.type !== 'ArrowFunctionExpression') return false
  const [done]: readonly Node[] = wait['params']
  const call = onlyExpression(wait['body'])
  if (done?.type !== 'Identifier' || call?.type !== 'CallExpression') return false
  const callee: Node = call['callee']
  const [first]: readonly Node[] = call['arguments']
  return (
    callee.type === 'Identifier' &&
    callee['name'] === 'setTimeout' &&
    (name === callee || name === made['callee']) &&
    first?.type === 'Identifier' &&
    first['name'] === done['name']
  )
}

function onlyExpression(body: Node): Node | undefined {
  if (body.type !== 'BlockStatement') return body
  const [only, ...more]: readonly Node[] = body['body']
  return only?.type === 'ExpressionStatement' && more.length === 0 ? only['expression'] : undefined
}

function reachesByKey(node: Node): boolean {
  if (node.type === 'MemberExpression') return looseningKeys.has(memberKey(node) ?? '')
  if (node.type !== 'Property') return false
  const key: Node = node['key']
  const text = node['computed'] || key.type === 'Literal' ? textOf(key) : key['name']
  return looseningKeys.has(text ?? '')
}

function isBuiltIn(target: Node): boolean {
  const root = pathOf(target)
  return root !== undefined && root !== '%fn' && !isExport(target)
}

function isInClass(node: Node): boolean {
  for (let at = node.parent; at; at = at.parent) if (at.type === 'ClassBody') return true
  return false
}

function concurrency(
  tree: Tree,
  names: NameIndex,
  flow: Flow,
  entries: ReadonlySet<Node>,
): string | undefined {
  const isLoose = (node: Node) =>
    isFunction(node) && node['async'] === true && !entries.has(node) && !isFollowed(node, flow)
  if (tree.some(isLoose)) return concurrent
  if (tree.some((node) => node.type === 'ForOfStatement' && node['await'])) return concurrent
  const outward = names.free.filter(({ name }) => name === 'call' || name === 'fetch')
  return outward.every((name) => isWaitedFor(callBy(name))) ? undefined : concurrent
}

/** An async function whose every call is awaited in place. */
function isFollowed(called: Node, flow: Flow): boolean {
  if (called['generator'] || called['wrapper'] === true) return called['wrapper'] === true
  const { parent } = called
  if (parent?.type === 'CallExpression' && parent['callee'] === called) return isAwaited(parent)
  const calls = flow.callsOf(called)
  return nameOf(called) !== undefined && calls !== undefined && calls.every(isWaitedFor)
}

function isWaitedFor(call: Node | undefined): boolean {
  if (!call) return false
  if (isAwaited(call)) return true
  const around = functionAround(call)
  const { parent } = call
  const isReturned = parent?.type === 'ReturnStatement' || parent === around
  return isReturned && around?.['async'] === true
}

function dynamic(tree: Tree, flow: Flow, isWild: boolean): string | undefined {
  const reads = tree.filter((node) => isDynamic(node, flow) && !isCoerced(node))
  const isCalled = (node: Node) =>
    node.parent?.type === 'CallExpression' && node.parent['callee'] === node
  if (reads.some(isCalled)) return reaching
  const held = reads.some(({ parent }) => parent?.type === 'VariableDeclarator')
  const calls = tree.some(
    (node) => node.type === 'CallExpression' && isUnknownCallee(node['callee'], flow),
  )
  return reads.length > 0 && (isWild || (held && calls)) ? reaching : undefined
}

/** A dynamic key that may be any text. */
function isDynamic(node: Node, flow: Flow): boolean {
  if (node.type !== 'MemberExpression' || !node['computed']) return false
  return memberKey(node) === undefined && !flow.isNumeric(node['property'])
}

const coercing = new Set([
  'BinaryExpression',
  'UnaryExpression',
  'TemplateLiteral',
  'UpdateExpression',
  'IfStatement',
])

function isCoerced(node: Node): boolean {
  let at = node
  while (at.parent?.type === 'LogicalExpression') at = at.parent
  const { parent } = at
  if (parent?.type === 'AssignmentExpression' && parent['left'] === node) return true
  return coercing.has(parent?.type ?? '') && parent?.['operator'] !== 'delete'
}

function isUnknownCallee(callee: Node, flow: Flow): boolean {
  if (callee.type !== 'Identifier' || !bindingOf(callee)) return false
  return flow.calledFunction({ callee } as unknown as Node) === undefined
}

const equalities = new Set(['===', '!==', '==', '!='])
const lookUps = new Set(['has', 'includes', 'indexOf', 'lastIndexOf', 'get', 'delete', 'is'])

function comparesObjects(node: Node, flow: Flow): boolean {
  if (node.type === 'BinaryExpression' && equalities.has(node['operator']))
    return !flow.isPrimitive(node['left']) && !flow.isPrimitive(node['right'])
  if (node.type === 'SwitchStatement')
    return node['cases'].some((one: Node) => one['test'] && !flow.isPrimitive(one['test']))
  if (node.type !== 'CallExpression' || node['callee'].type !== 'MemberExpression') return false
  if (!lookUps.has(memberKey(node['callee']) ?? '')) return false
  return node['arguments'].some((one: Node) => !flow.isPrimitive(one))
}
