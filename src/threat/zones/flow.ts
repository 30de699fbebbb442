import { memberKey, textOf } from '../value.ts'
import type { Binding, Node } from '../syntax.ts'
import { isFunction, ownNodes } from '../scope.ts'
import { bindingOf, callBy, nameRoleOf, type NameIndex, type NameRole } from './names.ts'
import {
  arrayCallbacks,
  freshGlobals,
  freshMethods,
  inheritedNames,
  mutatingMethods,
  primitiveGlobals,
  primitiveMethods,
} from './builtin-names.ts'

/**
 * Proves properties of values without execution: primitive, plain data, or created right here. Unknown means
 * no. A name is judged by every value ever assigned to it; a cyclic question adds nothing and is answered with
 * yes.
 */
export class Flow {
  readonly #names: NameIndex
  readonly #entries: ReadonlySet<Node>
  #asks = 0
  #depth = 0
  readonly #asked = { primitive: new Map<Node, boolean>(), plain: new Map<Node, boolean>() }

  /** `entries`: functions called from outside, with JSON. */
  constructor(names: NameIndex, entries: ReadonlySet<Node>) {
    this.#names = names
    this.#entries = entries
  }

  /** Undefined, null, a boolean, a number, text, a big integer. */
  isPrimitive(node: Node): boolean {
    return this.#once(this.#asked.primitive, node, () => this.#primitive(node))
  }

  /** Data that may be copied: no function, class, accessor or promise in it. */
  isPlain(node: Node): boolean {
    return this.isPrimitive(node) || this.#once(this.#asked.plain, node, () => this.#plain(node))
  }

  /** An object created by this very expression, not yet shared. */
  isFresh(node: Node): boolean {
    switch (node.type) {
      case 'ArrayExpression':
      case 'ObjectExpression':
        return true
      case 'NewExpression':
        return this.#isGlobal(node['callee'], freshGlobals)
      case 'CallExpression':
        return this.#isFreshCall(node)
      default:
        return false
    }
  }

  /** True if a name only ever holds objects created for it. */
  holdsFresh(name: Node): boolean {
    const places = this.#placesOf(name)
    return (
      places !== undefined &&
      places.length > 0 &&
      places.every((place) => place.kind === 'value' && this.isFresh(place.node))
    )
  }

  /** A number, as a key of an object. */
  isNumeric(node: Node): boolean {
    if (node.type === 'Literal') return typeof node['value'] === 'number'
    if (node.type === 'UpdateExpression') return true
    if (node.type === 'UnaryExpression') return ['-', '+', '~'].includes(node['operator'])
    if (node.type === 'BinaryExpression')
      return node['operator'] === '+'
        ? this.isNumeric(node['left']) && this.isNumeric(node['right'])
        : arithmetic.has(node['operator'])
    if (node.type === 'MemberExpression')
      return memberKey(node) === 'length' && this.isPlain(node['object'])
    if (node.type !== 'Identifier') return false
    return (
      this.#placesOf(node)?.every(
        (place) =>
          (place.kind === 'value' && place.node !== node && this.#isNumericInit(place.node)) ||
          place.kind === 'primitive',
      ) ?? false
    )
  }

  /** Plain and primitive, regardless of mutations elsewhere. */
  isSolid(node: Node): boolean {
    if (this.isPrimitive(node)) return true
    if (node.type === 'ArrayExpression')
      return node['elements'].every((one: Node | null) => one !== null && this.isSolid(one))
    if (node.type !== 'ObjectExpression') return false
    return node['properties'].every((one: Node) => isData(one) && this.isSolid(one['value']))
  }

  #once(known: Map<Node, boolean>, node: Node, ask: () => boolean): boolean {
    const before = known.get(node)
    if (before !== undefined) return before
    if (this.#asks++ > asksMax || this.#depth > depthMax) return false
    known.set(node, true)
    this.#depth++
    const answer = ask()
    this.#depth--
    known.set(node, answer)
    // Answers that depended on the assumption are discarded.
    if (!answer) for (const [key, value] of known) if (value) known.delete(key)
    return answer
  }

  #isNumericInit(node: Node): boolean {
    return node.type !== 'Identifier' && this.isNumeric(node)
  }

  #primitive(node: Node): boolean {
    switch (node.type) {
      case 'Literal':
        return !('regex' in node)
      case 'TemplateLiteral':
      case 'BinaryExpression':
      case 'UnaryExpression':
      case 'UpdateExpression':
        return true
      case 'LogicalExpression':
        return this.isPrimitive(node['left']) && this.isPrimitive(node['right'])
      case 'ConditionalExpression':
        return this.isPrimitive(node['consequent']) && this.isPrimitive(node['alternate'])
      case 'AwaitExpression':
        return this.isPrimitive(node['argument'])
      case 'MemberExpression':
        return memberKey(node) === 'length'
          ? this.isPlain(node['object'])
          : statusKeys.has(memberKey(node) ?? '') && this.#isResponse(node['object'])
      case 'CallExpression':
        return this.#isPrimitiveCall(node)
      case 'Identifier':
        return this.#holdsPrimitive(node)
      default:
        return false
    }
  }

  #isPrimitiveCall(call: Node): boolean {
    const callee: Node = call['callee']
    if (this.#isGlobal(callee, primitiveGlobals)) return true
    if (callee.type === 'MemberExpression' && !callee['computed'])
      return primitiveMethods.has(memberKey(callee) ?? '') && this.#isDataOrRegex(callee['object'])
    const called = this.calledFunction(call)
    return called !== undefined && this.returns(called, (value) => this.isPrimitive(value))
  }

  #isDataOrRegex(node: Node): boolean {
    return (node.type === 'Literal' && 'regex' in node) || this.isPlain(node)
  }

  #holdsPrimitive(name: Node): boolean {
    const places = this.#placesOf(name)
    if (!places) return bindingOf(name) === undefined && nothings.has(name['name'])
    return places.every((place) => this.#holds(place, (value) => this.isPrimitive(value)))
  }

  #holds(place: NameRole, is: (value: Node) => boolean): boolean {
    if (place.kind === 'value') return is(place.node)
    return place.kind === 'parameter' ? this.#isGiven(place, is) : place.kind === 'primitive'
  }

  #plain(node: Node): boolean {
    switch (node.type) {
      case 'ArrayExpression':
        return node['elements'].every(
          (one: Node | null) =>
            one !== null && this.isPlain(one.type === 'SpreadElement' ? one['argument'] : one),
        )
      case 'ObjectExpression':
        return node['properties'].every((one: Node) =>
          one.type === 'SpreadElement'
            ? this.isPlain(one['argument'])
            : isData(one) && this.isPlain(one['value']),
        )
      case 'LogicalExpression':
        return this.isPlain(node['left']) && this.isPlain(node['right'])
      case 'ConditionalExpression':
        return this.isPlain(node['consequent']) && this.isPlain(node['alternate'])
      case 'AwaitExpression':
        return this.isPlain(node['argument'])
      case 'MemberExpression':
        return this.#isPlainPart(node)
      case 'CallExpression':
        return this.#isPlainCall(node)
      case 'Identifier':
        return this.#holdsPlain(node)
      default:
        return false
    }
  }

  /** `(await fetch(url)).json` */
  #isBody(callee: Node): boolean {
    if (callee.type !== 'MemberExpression') return false
    const isRead = memberKey(callee) === 'json' || memberKey(callee) === 'text'
    return isRead && this.#isResponse(callee['object'])
  }

  #isResponse(node: Node): boolean {
    if (node.type === 'AwaitExpression') {
      const call: Node = node['argument']
      return call.type === 'CallExpression' && this.#isGlobal(call['callee'], responding)
    }
    const places = node.type === 'Identifier' ? this.#placesOf(node) : undefined
    const [place, ...others] = places ?? []
    return place?.kind === 'value' && others.length === 0 && place.node.type === 'AwaitExpression'
      ? this.#isResponse(place.node)
      : false
  }

  #isPlainPart(node: Node): boolean {
    if (!this.isPlain(node['object'])) return false
    const key = memberKey(node)
    if (key !== undefined) return !inheritedNames.has(key)
    return node['computed'] === true && this.isNumeric(node['property'])
  }

  #isPlainCall(call: Node): boolean {
    const callee: Node = call['callee']
    const [first]: readonly Node[] = call['arguments']
    if (this.#isGlobal(callee, outside) || this.#isBody(callee)) return true
    if (this.#isGlobal(callee, plainGlobals))
      return first !== undefined && this.isPlain(first) && call['arguments'].length === 1
    if (callee.type !== 'MemberExpression') {
      const called = this.calledFunction(call)
      return called !== undefined && this.returns(called, (value) => this.isPlain(value))
    }
    const method = memberKey(callee) ?? ''
    if (callee['computed'] || !this.isPlain(callee['object'])) return false
    if (copyingMethods.has(method)) return true
    if (method === 'concat') return call['arguments'].every((one: Node) => this.isPlain(one))
    if (method !== 'map' && method !== 'flatMap') return false
    return (
      first !== undefined &&
      isFunction(first) &&
      !first['async'] &&
      this.returns(first, (value) => this.isPlain(value))
    )
  }

  /** True if everything ever stored in its value is plain. */
  #holdsPlain(name: Node): boolean {
    const binding = bindingOf(name)
    const places = this.#placesOf(name)
    if (!binding || !places) return false
    const holdsPlain = places.every((place) => this.#holds(place, (value) => this.isPlain(value)))
    return holdsPlain && this.#isFilledPlainly(binding)
  }

  #isFilledPlainly(binding: Binding): boolean {
    return (this.#names.bound.get(binding) ?? []).every((name) => {
      const member = name.parent
      if (member?.type !== 'MemberExpression' || member['object'] !== name) return true
      const { parent } = member
      if (parent?.type === 'AssignmentExpression' && parent['left'] === member)
        return parent['operator'] !== '=' || this.isPlain(parent['right'])
      if (parent?.type !== 'CallExpression' || parent['callee'] !== member) return true
      if (!mutatingMethods.has(memberKey(member) ?? '')) return memberKey(member) !== undefined
      return parent['arguments'].every((one: Node) => isFunction(one) || this.isPlain(one))
    })
  }

  /** True if every call passes an argument with the property. */
  #isGiven({ of, index }: NameRole & { kind: 'parameter' }, is: (value: Node) => boolean): boolean {
    if (this.#entries.has(of)) return index === 0 && is(input)
    const method = callbackOf(of)
    if (method) return this.#isGivenByMethod(method, of, index, is)
    const calls = this.callsOf(of)
    return (
      calls !== undefined &&
      calls.every((call) => {
        const given: readonly Node[] = call['arguments']
        const hasSpread = given.slice(0, index + 1).some((one) => one.type === 'SpreadElement')
        return !hasSpread && (given[index] === undefined || is(given[index]))
      })
    )
  }

  #isGivenByMethod(
    call: Node,
    callback: Node,
    index: number,
    is: (value: Node) => boolean,
  ): boolean {
    const callee: Node = call['callee']
    const isPlainList = this.isPlain(callee['object'])
    if (!isPlainList || !arrayCallbacks.has(memberKey(callee) ?? '')) return false
    if (memberKey(callee)!.startsWith('reduce')) {
      const [, initial]: readonly Node[] = call['arguments']
      if (index === 0)
        return initial !== undefined && is(initial) && this.returns(callback, (value) => is(value))
      return index === 2 || is(input)
    }
    return memberKey(callee) !== 'sort' && index === 1 ? true : is(input)
  }

  /** Every call of a named function; undefined if it is used in any other way. */
  callsOf(called: Node): readonly Node[] | undefined {
    const id = nameOf(called)
    const binding = id && bindingOf(id)
    if (!binding) return undefined
    const calls: Node[] = []
    for (const name of this.#names.bound.get(binding) ?? []) {
      if (name === id) continue
      const call = callBy(name)
      if (!call) return undefined
      calls.push(call)
    }
    return calls
  }

  /** Function of the program that a call calls. */
  calledFunction(call: Node): Node | undefined {
    const callee: Node = call['callee']
    if (callee.type !== 'Identifier') return undefined
    const places = this.#placesOf(callee)
    const [place, ...others] = places ?? []
    if (!place || others.length > 0) return undefined
    const node = place.kind === 'function' || place.kind === 'value' ? place.node : undefined
    return node && isFunction(node) && !node['generator'] ? node : undefined
  }

  /** True if every returned value has the property. */
  returns(called: Node, is: (value: Node) => boolean): boolean {
    const body: Node = called['body']
    if (body.type !== 'BlockStatement') return is(body)
    return ownNodes([body]).every(
      ({ node }) => node.type !== 'ReturnStatement' || !node['argument'] || is(node['argument']),
    )
  }

  #placesOf(name: Node): readonly NameRole[] | undefined {
    const binding = bindingOf(name)
    if (!binding) return undefined
    return (this.#names.bound.get(binding) ?? [])
      .map(nameRoleOf)
      .filter(({ kind }) => kind !== 'read')
  }

  /** True if a callee is one of these globals, by its own name or as `Math.max`. */
  #isGlobal(callee: Node, names: ReadonlySet<string>): boolean {
    const isMember = callee.type === 'MemberExpression' && !callee['computed']
    const root: Node = isMember ? callee['object'] : callee
    if (root.type !== 'Identifier' || bindingOf(root)) return false
    if (!isMember) return names.has(root['name'])
    return names.has(`${root['name']}.${memberKey(callee)}`) || names.has(`${root['name']}.*`)
  }

  #isFreshCall(call: Node): boolean {
    const callee: Node = call['callee']
    if (this.#isGlobal(callee, freshGlobals)) return true
    if (callee.type !== 'MemberExpression' || callee['computed']) return false
    const isList = this.isPlain(callee['object']) || this.isFresh(callee['object'])
    return freshMethods.has(memberKey(callee) ?? '') && isList
  }
}

/** Bounds of questions about one program, in number and depth; beyond them the answer is no. */
const asksMax = 50_000
const depthMax = 150

/** Stands for external input: plain data, otherwise unknown. */
const input = { type: 'ArrayExpression', start: 0, end: 0, elements: [] } as unknown as Node

const nothings = new Set(['undefined', 'NaN', 'Infinity'])
const arithmetic = new Set(['-', '*', '/', '%', '**', '&', '|', '^', '<<', '>>', '>>>'])
/** Globals that return JSON, and those that return a response. */
const outside = new Set(['call'])
const responding = new Set(['fetch'])
const statusKeys = new Set(['status', 'ok', 'statusText', 'url'])
const copyingMethods = new Set(['filter', 'slice', 'split', 'toReversed', 'toSorted'])
const plainGlobals = new Set(['JSON.parse', 'Object.keys', 'Object.values', 'Object.entries'])

/** A data property: no accessor, no method, no prototype. */
function isData(property: Node): boolean {
  if (property.type !== 'Property' || property['kind'] !== 'init' || property['method'])
    return false
  const key: Node = property['key']
  return property['computed'] ? textOf(key) !== '__proto__' : keyText(key) !== '__proto__'
}

function keyText(key: Node): string {
  return key.type === 'Identifier' ? key['name'] : String(key['value'])
}

/** Method call that gets a function as its callback. */
function callbackOf(callback: Node): Node | undefined {
  const { parent } = callback
  const isFirst = parent?.type === 'CallExpression' && parent['arguments'][0] === callback
  return isFirst && parent['callee'].type === 'MemberExpression' ? parent : undefined
}

/** Declared name of a function, if any. */
export function nameOf(called: Node): Node | undefined {
  if (called.type === 'FunctionDeclaration') return called['id'] ?? undefined
  const { parent } = called
  const isInit = parent?.type === 'VariableDeclarator' && parent['init'] === called
  return isInit && parent['id'].type === 'Identifier' ? parent['id'] : undefined
}
