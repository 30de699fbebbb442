import type { Call } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { memberKey, memberNode, numbersOf, pathOf, textOf } from '../value.ts'
import type { Rule } from './rule.ts'

/** Smallest large allocation: 64 MiB. */
export const largeBytes = 64 * 2 ** 20

/** Large allocations with constant sizes. */
export const bufferOverflow: Rule = {
  name: 'BUFFER_OVERFLOW',
  *find(facts) {
    for (const call of facts.calls) if (bytesOf(call) >= largeBytes) yield call.node
  },
}

const elementBytes: Readonly<Record<string, number | undefined>> = {
  __proto__: null as never,
  Array: 8,
  ArrayBuffer: 1,
  SharedArrayBuffer: 1,
  'Buffer.alloc': 1,
  'Buffer.allocUnsafe': 1,
  'Buffer.allocUnsafeSlow': 1,
  'module:crypto.randomBytes': 1,
  Buffer: 1,
  SlowBuffer: 1,
  Uint8Array: 1,
  Uint8ClampedArray: 1,
  Int8Array: 1,
  Uint16Array: 2,
  Int16Array: 2,
  Float16Array: 2,
  Uint32Array: 4,
  Int32Array: 4,
  Float32Array: 4,
  Float64Array: 8,
  BigInt64Array: 8,
  BigUint64Array: 8,
}
const BUFFER = 'module:buffer.'
const PAGE_BYTES = 65_536

function bytesOf({ node, callee: called, given }: Call): number {
  if (!given[0]) return 0
  const callee = called?.startsWith(BUFFER) ? called.slice(BUFFER.length) : (called ?? '')
  const [first, second] = given
  const each = elementBytes[callee]
  if (each !== undefined)
    return each * Math.max(sizeIn(callee, given), second ? fieldOf(second, 'maxByteLength') : 0)
  if (callee === 'Buffer.concat') return second ? sizeOf(second) : 0
  if (callee.endsWith('.from'))
    return (elementBytes[callee.slice(0, -5)] ?? 0) * fieldOf(first, 'length')
  if (callee === 'WebAssembly.Memory') return PAGE_BYTES * fieldOf(first, 'initial')
  if (/^String\.prototype\.(?:repeat|pad\w+)$/.test(callee)) return sizeOf(first)
  return grownText(node)
}

/** `Array(n)` alone has a size, and `Array.apply(null, { length: n })`. */
function sizeIn(callee: string, [first, ...others]: readonly Node[]): number {
  if (callee === 'Array' && others.length > 0) return 0
  return first!.type === 'SpreadElement' ? fieldOf(first!['argument'], 'length') : sizeOf(first!)
}

/** Largest sizes that Node and the language name. */
const LIMITS = /^(?:Number\.MAX_\w+|module:buffer\.(?:kMaxLength|constants\.MAX_\w+))$/

/** Largest of the possible sizes. */
function sizeOf(node: Node): number {
  if (LIMITS.test(pathOf(node) ?? '')) return Infinity
  return numbersOf(node).reduce((most, one) => Math.max(most, one), 0)
}

function fieldOf(object: Node, name: string): number {
  const field = memberNode(object, name)
  return field ? sizeOf(field) : 0
}

/** `text.repeat(n)`, `text.padEnd(n)`, `text.padStart(n)`. */
function grownText({ callee, arguments: given }: Node): number {
  const name = callee.type === 'MemberExpression' ? memberKey(callee) : undefined
  if (!given[0]) return 0
  if (name === 'repeat') return sizeOf(given[0]) * lengthOf(callee.object)
  return name === 'padEnd' || name === 'padStart' ? sizeOf(given[0]) : 0
}

/** Length of a text, at least; 1 if it is unknown. */
function lengthOf(node: Node): number {
  const grown = node.type === 'CallExpression' ? grownText(node) : 0
  return Math.max(1, grown || (textOf(node)?.length ?? 1))
}
