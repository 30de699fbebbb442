import type { Call, MemberWrite } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { pathOf, textOf } from '../value.ts'
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
  /^(?:Object|Array|Function|String|Number|Boolean|Symbol|BigInt|Date|RegExp|Promise|Map|Set|WeakMap|WeakSet|Error|TypeError|RangeError|SyntaxError|ArrayBuffer|DataView|Uint8Array|Int8Array|Uint16Array|Int16Array|Uint32Array|Int32Array|Float32Array|Float64Array|Proxy|JSON|Iterator)\.prototype(?:\.|$)/

function isShared(path = ''): boolean {
  return isPathWithin(path, '%proto') || BUILT_IN.test(path)
}

function pollutes({ key, object }: MemberWrite): boolean {
  return key === '__proto__' || isShared(object)
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

/** `JSON.parse` creates an own key `__proto__`, which a later merge copies over. */
function parses({ callee, given }: Call): boolean {
  return (
    callee === 'JSON.parse' && /"(?:__proto__|\\u005f_proto__)"\s*:/i.test(textOf(given[0]) ?? '')
  )
}
