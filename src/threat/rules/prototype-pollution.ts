import type { Call, MemberWrite } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { isFunction } from '../scope.ts'
import { memberKey, pathOf, textOf, valueOf } from '../value.ts'
import { isPathWithin, type Rule } from './rule.ts'

/** Writes to shared prototypes. Creating or reading one, or testing for the key, does not count. */
export const prototypePollution: Rule = {
  name: 'PROTOTYPE_POLLUTION',
  *find(facts) {
    for (const write of facts.writes) if (pollutes(write)) yield write.node
    for (const call of facts.calls) if (definesOn(call) || parses(call)) yield call.node
  },
}

const BUILT_IN =
  /^(?:Object|Array|Function|String|Number|Boolean|Symbol|BigInt|Date|RegExp|Promise|Weak(?:Map|Set|Ref)|Map|Set|(?:Eval|Reference|URI|Type|Range|Syntax|Aggregate)?Error|(?:Shared)?ArrayBuffer|DataView|(?:(?:Big)?Ui|(?:Big)?I)nt(?:8|16|32|64)(?:Clamped)?Array|Float(?:16|32|64)Array|Buffer|Proxy|JSON|Iterator|Intl\.\w+|URL|URLSearchParams|Text(?:En|De)coder)\.prototype(?:\.|$)/

function isShared(path = ''): boolean {
  return isPathWithin(path, '%proto') || BUILT_IN.test(path)
}

function pollutes({ node, key, object }: MemberWrite): boolean {
  return isShared(object) || (key === '__proto__' && !isHarmless(node))
}

/**
 * Writes of `__proto__` that no other object notices: a deletion, a primitive, which is ignored, and inheritance as
 * it was written before `Object.setPrototypeOf`: of a `prototype`, or of one parameter from another.
 */
function isHarmless({ left, right, operator }: Node): boolean {
  if (operator === 'delete') return true
  if (operator !== '=' || left.type !== 'MemberExpression') return false
  const value = valueOf(right)
  if (value?.kind === 'path') return value.path === '%fn' || value.path.endsWith('.prototype')
  if (value) return !Array.isArray(value.value)
  if (right.type === 'MemberExpression' && memberKey(right) === 'prototype') return true
  return isParameter(left.object) && isParameter(right)
}

function isParameter(node: Node): boolean {
  let at: Node | undefined = node
  while (at && !isFunction(at)) at = at.parent
  const given: readonly Node[] = at?.['params'] ?? []
  return given.some(({ type, name }) => type === 'Identifier' && name === node['name'])
}

const DEFINERS =
  /^(?:Object\.(?:assign|defineProperty|defineProperties|setPrototypeOf)|Reflect\.(?:set|defineProperty|setPrototypeOf|deleteProperty))$/
const LEGACY = /\.(?:__defineGetter__|__defineSetter__)$/

function definesOn({ callee, given }: Call): boolean {
  if (callee === undefined) return false
  if (LEGACY.test(callee)) return isShared(callee.replace(LEGACY, ''))
  return DEFINERS.test(callee) && (isShared(pathOf(given[0])) || setsPrototypeKey(callee, given))
}

function setsPrototypeKey(callee: string, given: readonly Node[]): boolean {
  return /\.(?:set|defineProperty)$/.test(callee) && textOf(given[1]) === '__proto__'
}

/**
 * `JSON.parse` creates an own key `__proto__`, which a later merge copies over; `set(object, "__proto__.x", value)` of
 * many libraries walks to the prototype.
 */
function parses({ node, callee, given }: Call): boolean {
  if (callee === 'JSON.parse') return KEYS.test(textOf(given[0]) ?? '')
  const to: Node = node['callee']
  const name = to.type === 'MemberExpression' ? memberKey(to) : undefined
  return (name === 'set' || name === 'setWith') && WALK.test(textOf(given[1]) ?? '')
}

const KEYS = /"(?:__proto__|\\u005f_proto__)"\s*:|"constructor"\s*:\s*\{\s*"prototype"\s*:/i
const WALK = /(?:^|[.[\]])(?:__proto__|constructor\.prototype)[.[\]]/
