import type { Call } from '../facts.ts'
import type { Node } from '../syntax.ts'
import { memberKey, memberNode, numberOf, textOf } from '../value.ts'
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
  'module:buffer.Buffer.alloc': 1,
  'module:buffer.Buffer.allocUnsafe': 1,
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
const PAGE_BYTES = 65_536

function bytesOf({ node, callee, given }: Call): number {
  const [first] = given
  if (!first) return 0
  const each = elementBytes[callee ?? '']
  if (each !== undefined)
    return each * (given.length === 1 || callee !== 'Array' ? sizeOf(first) : 0)
  if (callee === 'Array.from') return 8 * fieldOf(first, 'length')
  if (callee === 'WebAssembly.Memory') return PAGE_BYTES * fieldOf(first, 'initial')
  return grownText(node['callee'], first)
}

function sizeOf(node: Node): number {
  return numberOf(node) ?? 0
}

function fieldOf(object: Node, name: string): number {
  const field = memberNode(object, name)
  return field ? sizeOf(field) : 0
}

/** `text.repeat(n)`, `text.padEnd(n)`, `text.padStart(n)`. */
function grownText(callee: Node, by: Node): number {
  if (callee.type !== 'MemberExpression') return 0
  const name = memberKey(callee)
  if (name === 'repeat') return sizeOf(by) * (textOf(callee['object'])?.length ?? 1)
  return name === 'padEnd' || name === 'padStart' ? sizeOf(by) : 0
}
