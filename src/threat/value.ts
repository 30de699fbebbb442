import { foldBinary, foldCall, foldPattern, foldUnary, isFolded } from './fold.ts'
import { invocationOf, type Invocation } from './invocation.ts'
import { memberOf, notYet, type KeyOf } from './members.ts'
import { CallFrame, CallFrames, functionIn, returnsOf } from './returns.ts'
import {
  heldExpression,
  holderOf,
  isTopThis,
  literalOf,
  mayHold,
  nestingMax,
  soleSource,
} from './origin.ts'
import { constant, DESCRIPTOR, globalValue, ofModule, path, propertyValue } from './paths.ts'
import { isFunction, lookUp } from './scope.ts'
import type { Binding, Node, Source, PatternStep } from './syntax.ts'
import type { Constant, Primitive, Value } from './constant.ts'

/** Marks a value under evaluation: a cycle has no value. */
const OPEN = Symbol('open')

/** Static value; undefined if unknown. Bounded and memoised. */
export function valueOf(node: Node | null | undefined, depth = 0): Value | undefined {
  if (!node || depth > nestingMax) return undefined
  const frame = frames.innermost && frames.around(node)
  if (frame) return frame.known.has(node) ? frame.known.get(node) : ofCallOf(node, frame, depth)
  const { known } = node
  if (known === null || typeof known === 'symbol') return undefined
  if (known) return known
  node.known = OPEN
  const value = evaluators[node.type]?.(node, depth + 1)
  node.known = value ?? null
  return value
}

/** Calls under evaluation: no value outlives the function that asked for it. */
const frames = new CallFrames()

/** Value in a function for the arguments of one call. */
function ofCallOf(node: Node, { known }: CallFrame, depth: number): Value | undefined {
  known.set(node, undefined)
  const value = evaluators[node.type]?.(node, depth + 1)
  known.set(node, value)
  return value
}

export function pathOf(node: Node | null | undefined, depth = 0): string | undefined {
  const value = valueOf(node, depth)
  return value?.kind === 'path' ? value.path : undefined
}

export function textOf(node: Node | null | undefined, depth = 0): string | undefined {
  const value = valueOf(node, depth)
  return value?.kind === 'constant' && typeof value.value === 'string' ? value.value : undefined
}

/** Key of a member expression: literal, or computed from constants. */
export function memberKey(node: Node, depth = 0): string | undefined {
  const property: Node = node['property']
  if (property.type === 'PrivateIdentifier') return `#${property['name']}`
  if (!node['computed']) return property.type === 'Identifier' ? property['name'] : undefined
  return keyFrom(property, depth)
}

function keyFrom(property: Node, depth: number): string | undefined {
  const value = valueOf(property, depth)
  if (value?.kind !== 'constant' || typeof value.value === 'object') return undefined
  return String(value.value)
}

type Evaluator = (node: Node, depth: number) => Value | undefined

const aFunction: Evaluator = () => path('%fn')

/** Static value by the type of a node; a node of another type has none. */
const evaluators: Readonly<Record<string, Evaluator | undefined>> = {
  Identifier: ofName,
  MemberExpression: ofMember,
  Literal: (node) => ('regex' in node || 'bigint' in node ? undefined : constant(node['value'])),
  TemplateLiteral: ofTemplate,
  BinaryExpression: ofBinary,
  UnaryExpression: (node, depth) => {
    const value = valueOf(node['argument'], depth)
    return node['operator'] === '+' && isReading(value)
      ? path('Date.now()')
      : foldUnary(node['operator'], value)
  },
  LogicalExpression: (node, depth) => either(node['left'], node['right'], depth),
  ConditionalExpression: (node, depth) => either(node['consequent'], node['alternate'], depth),
  AssignmentExpression: (node, depth) =>
    node['operator'] === '=' ? valueOf(node['right'], depth) : undefined,
  SequenceExpression: (node, depth) => valueOf(node['expressions'].at(-1), depth),
  ChainExpression: (node, depth) => valueOf(node['expression'], depth),
  AwaitExpression: (node, depth) => valueOf(node['argument'], depth),
  ArrayExpression: ofArray,
  ObjectExpression: (node, depth) =>
    node['properties'].some(
      (one: Node) =>
        one.type === 'SpreadElement' && pathOf(one['argument'], depth) === 'globalThis',
    )
      ? path('globalThis')
      : undefined,
  ThisExpression: (node) => (isTopThis(node) ? path('globalThis') : undefined),
  ImportExpression: (node, depth) => ofModule(textOf(node['source'], depth)),
  NewExpression: ofNew,
  CallExpression: ofCall,
  TaggedTemplateExpression: (node, depth) =>
    pathOf(node['tag'], depth) === 'String.raw' ? valueOf(node['quasi'], depth) : undefined,
  FunctionExpression: aFunction,
  FunctionDeclaration: aFunction,
  ArrowFunctionExpression: aFunction,
  ClassExpression: aFunction,
  ClassDeclaration: aFunction,
}

/** The time of now, as a number or a date. */
function isReading(value: Value | undefined): boolean {
  return value?.kind === 'path' && (value.path === 'Date.now()' || value.path === 'new Date')
}

function ofName(node: Node, depth: number): Value | undefined {
  const name: string = node['name']
  const binding = lookUp(name, node.scope)
  if (!binding) return globalValue(name)
  if (frames.innermost) {
    const given = frames.giving(binding)
    if (given) return given.given.get(binding)
    const source = binding.sources[0]
    const frame = source && 'node' in source ? frames.around(source.node) : undefined
    if (frame) return ofNameIn(frame, binding, depth)
  }
  if (binding.known !== undefined) return binding.known ?? undefined
  binding.known = null
  const value = ofBinding(binding, depth)
  if (value) binding.known = value
  return value
}

/** Value of a name of a function for the arguments of one call. */
function ofNameIn({ known }: CallFrame, binding: Binding, depth: number): Value | undefined {
  if (!known.has(binding)) {
    known.set(binding, undefined)
    known.set(binding, ofBinding(binding, depth))
  }
  return known.get(binding)
}

function ofBinding(binding: Binding, depth: number): Value | undefined {
  if (binding.sources.length === 1) {
    const value = ofSource(binding.sources[0]!, depth)
    const isTold = value?.kind === 'path' && value.path !== '%fn'
    return isTold || !binding.unknown ? value : undefined
  }
  const told = binding.sources.map((source) => ofSource(source, depth))
  const found = told.find((value) => value?.kind === 'path' && value.path !== '%fn')
  if (found) return found
  if (binding.unknown) return undefined
  return told.length === 1 ? told[0] : appended(binding, told)
}

/** Text concatenated by `+=`, in source order. */
function appended(binding: Binding, told: readonly (Value | undefined)[]): Value | undefined {
  const [first, ...others] = binding.sources
  if (first?.kind !== 'expression' || others.some(({ kind }) => kind !== 'append')) return undefined
  return told.reduce((whole, part) => foldBinary('+', whole, part))
}

function ofSource(source: Source, depth: number): Value | undefined {
  if (source.kind === 'function') return path('%fn')
  if (source.kind === 'import') {
    const module = ofModule(source.module)
    return source.name === undefined ? module : propertyValue(module, source.name)
  }
  if (source.kind === 'append') return valueOf(source.node, depth)
  if (source.kind === 'element') return mostSuspicious(elementsOf(source.node, depth), depth)
  if (source.path.length === 0) return valueOf(source.node, depth)
  return follow(source.node, source.path, depth)
}

/** Maximum elements of a list, and values of an expression, to look at. */
const choicesMax = 16

function elementsOf(list: Node, depth: number): readonly Node[] {
  const literal = literalOf(list, depth)
  if (literal?.type !== 'ArrayExpression') return []
  const elements: readonly (Node | null)[] = literal['elements'].slice(0, choicesMax)
  return elements.filter((element) => element !== null)
}

/** The first path among the values of these expressions, or the constant of a single one. */
function mostSuspicious(nodes: readonly Node[], depth: number): Value | undefined {
  const values = nodes.map((node) => valueOf(node, depth))
  const found = values.find((value) => value?.kind === 'path' && value.path !== '%fn')
  return found ?? (values.length === 1 ? values[0] : undefined)
}

interface Choices {
  readonly found: readonly Primitive[]
  /** True if the expression may have other values. */
  readonly isPart: boolean
}

/** Constants that an expression may have: of both branches, of each value of a name, of each element of a list. */
function choicesOf(from: Node | undefined): Choices {
  const binding = from?.type === 'Identifier' ? lookUp(from['name'], from.scope) : undefined
  if (!binding || (frames.innermost && frames.around(from!))) return choicesFrom(from)
  return knownChoices.getOrInsertComputed(binding, () => choicesFrom(from))
}

/** Memo by name: many expressions may read a name of many values. */
const knownChoices = new WeakMap<Binding, Choices>()

function choicesFrom(from: Node | undefined): Choices {
  const found: Primitive[] = []
  let isPart = false
  // A set keeps its order while it grows, and names may lead to each other in any number of ways.
  const nodes = new Set<Node>(from && [from])
  for (const node of nodes) {
    if (nodes.size > nodesMax) break
    const value = valueOf(node)
    if (value) found.push(...primitivesIn(value))
    else if (node.type === 'ConditionalExpression')
      nodes.add(node['consequent']).add(node['alternate'])
    else if (node.type === 'LogicalExpression') nodes.add(node['left']).add(node['right'])
    else if (node.type === 'Identifier') isPart = !addHeld(node, { nodes, found }) || isPart
    else isPart = true
  }
  return { found: found.slice(0, choicesMax), isPart }
}

/** Maximum expressions to look at for the choices of one. */
const nodesMax = 64

interface Looking {
  readonly nodes: Set<Node>
  readonly found: Primitive[]
}

/** Adds the values of a name; false if it may hold others, beside those of callers. */
function addHeld({ name, scope }: Node, { nodes, found }: Looking): boolean {
  const sources = lookUp(name, scope)?.sources ?? []
  for (const source of sources.slice(0, choicesMax)) {
    if (source.kind === 'element') for (const one of elementsOf(source.node, 0)) nodes.add(one)
    else if (source.kind !== 'expression') return false
    else if (source.path.length === 0) nodes.add(source.node)
    else {
      const held = ofSource(source, 0)
      if (!held) return false
      found.push(...primitivesIn(held))
    }
  }
  return sources.length > 0
}

function primitivesIn(value: Value): readonly Primitive[] {
  return value.kind === 'constant' && !Array.isArray(value.value) ? [value.value as Primitive] : []
}

/** Texts that an expression may be, each once. */
export function textsOf(node: Node | undefined): readonly string[] {
  return [...new Set(choicesOf(node).found.filter((value) => typeof value === 'string'))]
}

/** Numbers that an expression may be; none if it may be more. */
export function numbersOf(node: Node | undefined): readonly number[] {
  const { found, isPart } = choicesOf(node)
  return isPart ? [] : found.filter((value) => typeof value === 'number')
}

/** Resolves a destructuring path in the expression it unpacks. */
function follow(node: Node, steps: readonly PatternStep[], depth: number): Value | undefined {
  let at: Node | undefined = node
  let rest = steps
  while (rest.length > 0 && at) {
    const key = keyOfStep(rest[0]!, depth)
    const inside: Node | undefined = key === undefined ? undefined : memberNode(at, key, depth)
    if (!inside) break
    at = inside
    rest = rest.slice(1)
  }
  return rest.reduce<Value | undefined>(
    (value, step) => propertyValue(value, keyOfStep(step, depth)),
    valueOf(at, depth),
  )
}

function keyOfStep(step: PatternStep, depth: number): string | undefined {
  return typeof step === 'string' ? step : keyFrom(step, depth)
}

/** Value expression under a key of an object or array literal, directly or through a name. */
export function memberNode(node: Node, key: string, depth = 0): Node | undefined {
  const holder = holderOf(node, depth)
  return holder && memberOf(holder, key, (property) => keyOrNotYet(property, depth))
}

function keyOrNotYet(property: Node, depth: number): ReturnType<KeyOf> {
  const key = propertyKey(property, depth)
  return key === undefined && property['key'].known === OPEN ? notYet : key
}

export function propertyKey({ key, computed }: Node, depth = 0): string | undefined {
  if (key.type === 'PrivateIdentifier') return `#${key.name}`
  if (!computed && key.type === 'Identifier') return key.name
  return keyFrom(key, depth)
}

function ofMember(node: Node, depth: number): Value | undefined {
  const key = memberKey(node, depth)
  const object: Node = node['object']
  if (object.type === 'Super') return undefined
  if (key === undefined) return node['computed'] ? ofGlobalKey(node, depth) : undefined
  if (object.type === 'Identifier' && !mayHold(object))
    return propertyValue(valueOf(object, depth), key)
  const own = ofOwnMember(object, key, depth)
  return own?.kind === 'path' && own.path !== '%fn' ? own : (ofAssigned(object, key, depth) ?? own)
}

function ofOwnMember(object: Node, key: string, depth: number): Value | undefined {
  const inside = memberNode(object, key, depth)
  if (!inside) return propertyValue(valueOf(object, depth), key)
  return inside.parent?.['kind'] === 'get' ? resultOf(inside, [], depth) : valueOf(inside, depth)
}

/** Value assigned to a member of a name: a global or a module, or the only constant. */
function ofAssigned(object: Node, key: string, depth: number): Value | undefined {
  if (object.type !== 'Identifier') return undefined
  const members = lookUp(object['name'], object.scope)?.members?.get(key)
  const value = members && mostSuspicious(members, depth)
  return value?.kind === 'path' && value.path.startsWith('%') ? undefined : value
}

const TELLING =
  /^(?:eval|Function|process|require|module|fetch|XMLHttpRequest|WebSocket|performance)$/

/** `globalThis[key]` for a key that may be one of several. */
function ofGlobalKey({ object, property }: Node, depth: number): Value | undefined {
  if (pathOf(object, depth) !== 'globalThis') return undefined
  const names = textsOf(property)
  const name = names.find((one) => TELLING.test(one)) ?? names[0]
  return name === undefined ? undefined : globalValue(name)
}

function ofTemplate(node: Node, depth: number): Value | undefined {
  let text = ''
  for (const [index, quasi] of node['quasis'].entries()) {
    text += quasi.value.cooked ?? ''
    const hole = node['expressions'][index]
    if (!hole) continue
    const value = keyFrom(hole, depth)
    if (value === undefined) return undefined
    text += value
  }
  return constant(text)
}

/** Iterates over chains of additions: long ones are common, and recursion is bounded. */
function ofBinary(node: Node, depth: number): Value | undefined {
  const chain: Node[] = []
  let left: Node = node
  for (; left.type === 'BinaryExpression'; left = left['left']) chain.push(left)
  let value = valueOf(left, depth)
  for (const step of chain.toReversed()) {
    if (!value) return undefined
    value = foldBinary(step['operator'], value, valueOf(step['right'], depth))
  }
  return value
}

function either(first: Node, second: Node, depth: number): Value | undefined {
  const one = valueOf(first, depth)
  if (one?.kind === 'path' && one.path !== '%fn') return one
  const other = valueOf(second, depth)
  return other?.kind === 'path' ? other : undefined
}

function ofArray(node: Node, depth: number): Value | undefined {
  const items: Primitive[] = []
  for (const element of node['elements']) {
    for (const value of element ? spread(element, depth) : [constant(undefined)]) {
      if (value?.kind !== 'constant' || typeof value.value === 'object') return undefined
      items.push(value.value)
    }
  }
  return constant(items)
}

function ofNew(node: Node, depth: number): Value | undefined {
  const made = pathOf(node['callee'], depth)
  if (made === 'Date') return node['arguments'].length === 0 ? path('new Date') : undefined
  return made === 'Proxy' ? valueOf(node['arguments'][0], depth) : undefined
}

const loaders = new Set([
  'require',
  'module.require',
  'process.getBuiltinModule',
  'process.mainModule.require',
  'require()',
  'require.main.require',
  'module.parent.require',
  'module.children.0.require',
  'module:module.prototype.require',
  'module.constructor._load',
  'module:module._load',
])
const prototypeGetters = new Set(['Object.getPrototypeOf', 'Reflect.getPrototypeOf'])
/** Calls whose results have paths of their own in the rules. */
const namedResults = new Set([
  'Date.now',
  'performance.now',
  'process.hrtime',
  'process.hrtime.bigint',
  'process.binding',
  'process._linkedBinding',
])

/** Function that a call calls in the end, and what it gives to it. */
export function calledBy(node: Node, depth = 0): Invocation {
  return invocationOf(node, { depth, pathOf, keyOf: memberKey, originOf: heldExpression })
}

const descriptors = /^(?:Object|Reflect)\.getOwnPropertyDescriptor$/
/** Calls whose result leads to the global object if one of their arguments does. */
const copiers = /^(?:Object\.(?:assign|create)|Promise\.resolve)$/

function ofCall(node: Node, depth: number): Value | undefined {
  const { callee, given } = calledBy(node, depth)
  const [first, second] = given
  const called = pathOf(callee, depth)
  if (called === undefined || called === '%fn') return ofMethodCall(node, depth)
  if (loaders.has(called)) return ofModule(textOf(first, depth))
  if (called === 'module:module.createRequire') return path('require')
  if (prototypeGetters.has(called)) return propertyValue(valueOf(first, depth), '__proto__')
  if (called === 'Reflect.get')
    return second && propertyValue(valueOf(first, depth), keyFrom(second, depth))
  if (descriptors.test(called)) {
    const value = second && propertyValue(valueOf(first, depth), keyFrom(second, depth))
    return value?.kind === 'path' ? path(DESCRIPTOR + value.path) : undefined
  }
  if (copiers.test(called) && given.some((one) => pathOf(one, depth) === 'globalThis'))
    return path('globalThis')
  if (called.endsWith('.bind') && callee.type === 'MemberExpression')
    return path(called.slice(0, -'.bind'.length))
  if (namedResults.has(called)) return path(`${called}()`)
  if (callee !== node['callee'] && isFolded(called))
    return foldCall(called, undefined, valuesOf(given, depth))
  return ofMethodCall(node, depth)
}

function ofMethodCall(node: Node, depth: number): Value | undefined {
  const callee: Node = node['callee']
  const called = pathOf(callee, depth)
  if (callee.type === 'MemberExpression') {
    const name = memberKey(callee, depth)
    const subject = valueOf(callee['object'], depth)
    if (name === 'toString' && called?.startsWith('new Date') !== true) {
      const bytes = bufferText(callee['object'], depth)
      if (bytes !== undefined) return constant(bytes)
    }
    if (
      (name === 'getTime' || name === 'valueOf') &&
      subject?.kind === 'path' &&
      subject.path === 'new Date'
    )
      return path('Date.now()')
    if (name === 'bind' && called === '%fn') return path('%fn')
    const [first, second]: readonly Node[] = node['arguments']
    if (name === 'map') return mapped(subject, first, depth)
    if (name === 'reduce') return reduced(subject, node['arguments'], depth)
    if (first?.['regex'] && subject?.kind === 'constant' && typeof subject.value === 'string')
      return foldPattern(name, subject.value, first['regex'], valueOf(second, depth))
    if (name !== undefined && subject?.kind === 'constant')
      return foldCall(name, subject, valuesOf(node['arguments'], depth))
  }
  if (called && called !== '%fn')
    return isFolded(called)
      ? foldCall(called, undefined, valuesOf(node['arguments'], depth))
      : undefined
  // Each function that is found as a member is a value.
  const isUnknown = callee.type === 'MemberExpression' && valueOf(callee, depth) === undefined
  return isUnknown ? undefined : ofCalledFunction(node, depth)
}

function valuesOf(given: readonly Node[], depth: number): (Value | undefined)[] {
  return given.flatMap((argument) => spread(argument, depth))
}

function spread(argument: Node, depth: number): (Value | undefined)[] {
  if (argument.type !== 'SpreadElement') return [valueOf(argument, depth)]
  const list = valueOf(argument['argument'], depth)
  if (list?.kind === 'constant' && typeof list.value === 'string')
    return Array.from(list.value, constant)
  return itemsOf(list) ?? [undefined]
}

function itemsOf(list: Value | undefined): Constant[] | undefined {
  const isList = list?.kind === 'constant' && Array.isArray(list.value)
  return isList ? list.value.map(constant) : undefined
}

/** `Buffer.from(text, encoding)` as text. */
function bufferText(node: Node, depth: number): string | undefined {
  if (node.type !== 'CallExpression' || pathOf(node['callee'], depth) !== 'Buffer.from')
    return undefined
  const text = textOf(node['arguments'][0], depth)
  const encoding = textOf(node['arguments'][1], depth) ?? 'utf8'
  if (text === undefined || !/^(?:base64|base64url|hex|utf-?8|latin1)$/.test(encoding))
    return undefined
  return Buffer.from(text, encoding as BufferEncoding).toString()
}

/** Longest list whose elements are given to a function. */
const mappedMax = 512

/** `list.map(callback)`, for a built-in or a function of the source. */
function mapped(list: Value | undefined, callback: Node | undefined, depth: number) {
  const items = itemsOf(list)
  if (!items || !callback || items.length > mappedMax) return undefined
  const name = pathOf(callback, depth)
  const own = calledFunction(callback, depth)
  const results: Primitive[] = []
  for (const item of items) {
    const value = own ? resultOf(own, [item], depth) : foldCall(name ?? '', undefined, [item])
    if (value?.kind !== 'constant' || typeof value.value === 'object') return undefined
    results.push(value.value)
  }
  return constant(results)
}

/** `list.reduce((text, part) => text + part)`, with or without a first value. */
function reduced(list: Value | undefined, [callback, first]: readonly Node[], depth: number) {
  const items = itemsOf(list)
  const own = callback && calledFunction(callback, depth)
  if (!items || !own || items.length > mappedMax) return undefined
  const start: Value | undefined = first ? valueOf(first, depth) : items.shift()
  return items.reduce((value, item) => value && resultOf(own, [value, item], depth), start)
}

/** Result of a function of the source for the arguments of one call. */
function ofCalledFunction(call: Node, depth: number): Value | undefined {
  const { callee } = call as unknown as { callee: Node }
  if (callee.type === 'CallExpression') {
    const made = ofMadeFunction(callee, depth)
    if (made) return made
  }
  const called = calledFunction(callee, depth)
  return called && resultOf(called, valuesOf(call['arguments'], depth), depth)
}

/** Most suspicious of the values that a function may return; a constant only if it returns nothing else. */
function resultOf(
  called: Node,
  values: readonly (Value | undefined)[],
  depth: number,
): Value | undefined {
  if (depth > nestingMax) return undefined
  // Without a known argument the result is that of each such call.
  const isUnknown = !frames.innermost && !values.some(Boolean)
  if (isUnknown && unknownResults.has(called)) return unknownResults.get(called)
  const returned = returnsOf(called)
  if (returned.length === 0) return undefined
  const given = new Map<Binding, Value | undefined>()
  for (const [index, parameter] of called['params'].entries()) {
    const name: Node = parameter.type === 'AssignmentPattern' ? parameter.left : parameter
    const binding = name.type === 'Identifier' ? lookUp(name['name'], parameter.scope) : undefined
    const value =
      values[index] ?? (name === parameter ? undefined : valueOf(parameter.right, depth))
    if (binding && !isChangedIn(called['body'], binding)) given.set(binding, value)
  }
  const result = frames.within(new CallFrame(called, given), () => {
    const found = returned.map((one) => valueOf(one, depth))
    const path = found.find((one) => one?.kind === 'path' && one.path !== '%fn')
    return path ?? (found.length === 1 ? found[0] : undefined)
  })
  if (isUnknown) unknownResults.set(called, result)
  return result
}

const unknownResults = new WeakMap<Node, Value | undefined>()

/** True for a parameter that its function assigns to. */
function isChangedIn({ start, end }: Node, { sources }: Binding): boolean {
  return sources.some(
    (source) => 'node' in source && start <= source.node.start && source.node.end <= end,
  )
}

function calledFunction(callee: Node, depth: number): Node | undefined {
  if (isFunction(callee)) return callee
  if (callee.type === 'Identifier') {
    const source = soleSource(callee)
    if (source?.kind === 'function') return functionIn(source.node)
    return source?.kind === 'expression' ? functionIn(heldExpression(callee, depth)) : undefined
  }
  if (callee.type !== 'MemberExpression') return undefined
  const key = memberKey(callee, depth)
  return key === undefined ? undefined : functionIn(memberNode(callee['object'], key, depth))
}

/** `Function('return this')()` and variants return the global object. */
function ofMadeFunction(call: Node, depth: number): Value | undefined {
  const maker = pathOf(call['callee'], depth)
  if (maker !== 'Function' && maker !== '%Function' && maker !== '%constructor') return undefined
  const code = textOf(call['arguments'].at(-1), depth)
  const name = /^\s*return\s+([\w$]+)\s*;?\s*$/.exec(code ?? '')?.[1]
  if (name === undefined) return undefined
  return name === 'this' ? path('globalThis') : globalValue(name)
}
