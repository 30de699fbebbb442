/**
 * Paths: how static values name globals, modules and their properties, `%` before what has no name of its own (`%fn`: any function,
 * `%proto`: a prototype, `%constructor`: a constructor). No expression is evaluated here.
 */
import type { Constant, Value } from './constant.ts'

export function constant(value: Constant['value']): Constant {
  return { kind: 'constant', value }
}

export function path(text: string): Value {
  return { kind: 'path', path: text }
}

const globalNames = new Set(['globalThis', 'global', 'self', 'window', 'frames', 'top', 'GLOBAL'])

const constantNames = new Map<string, number | undefined>([
  ['undefined', undefined],
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
])

export function globalValue(name: string): Value {
  if (constantNames.has(name)) return constant(constantNames.get(name))
  return path(globalNames.has(name) ? 'globalThis' : name)
}

const functionGlobals = new Set(
  (
    'Array ArrayBuffer BigInt Boolean DataView Date Error EvalError Function Map Number Object Promise Proxy RangeError ' +
    'ReferenceError RegExp Set String Symbol SyntaxError TypeError URIError WeakMap WeakSet Uint8Array Int8Array Uint16Array ' +
    'Int16Array Uint32Array Int32Array Float32Array Float64Array parseInt parseFloat isNaN isFinite decodeURI ' +
    'decodeURIComponent encodeURI encodeURIComponent escape unescape eval atob btoa setTimeout setInterval clearTimeout ' +
    'clearInterval queueMicrotask structuredClone fetch require call %fn %Function %constructor URL URLSearchParams TextEncoder ' +
    'TextDecoder Event EventTarget AbortController'
  ).split(' '),
)

const functionHolders = new Set([
  ...functionGlobals,
  'Atomics',
  'console',
  'crypto',
  'Intl',
  'JSON',
  'Math',
  'performance',
  'process',
  'Reflect',
])

/** True for known functions: by name, or a member of a built-in with mostly functions. */
function isFunctionPath(text: string): boolean {
  if (functionGlobals.has(text)) return true
  const dot = text.indexOf('.')
  if (dot < 0 || !functionHolders.has(text.slice(0, dot))) return false
  return !/\.(?:prototype|env|config)$/.test(text)
}

/** Prefix of the path of a property's descriptor. */
export const DESCRIPTOR = '%descriptor '

/** Property of a value. An unknown object still has a constructor and a prototype. */
export function propertyValue(
  value: Value | undefined,
  key: string | undefined,
): Value | undefined {
  if (key === undefined) return undefined
  if (value?.kind === 'constant') return ofConstantKey(value, key)
  if (key === '__proto__') {
    return path(value && isFunctionPath(value.path) ? 'Function.prototype' : '%proto')
  }
  if (key === 'constructor') return path(constructorOf(value?.path))
  if (!value) return undefined
  if (value.path === 'globalThis') return globalValue(key)
  if (value.path.startsWith(DESCRIPTOR))
    return key === 'value' || key === 'get' ? path(value.path.slice(DESCRIPTOR.length)) : undefined
  if (value.path === '%constructor' && key === 'prototype') return path('%proto')
  if (value.path === '%fn') return callers.has(key) ? value : undefined
  if (value.path.startsWith('module:') && key === 'default') return value
  if (value.path === 'module:module' && key === 'Module') return value
  return path(`${value.path}.${key}`)
}

const callers = new Set(['apply', 'bind', 'call'])

function ofConstantKey({ value }: Constant, key: string): Value | undefined {
  if (key === 'constructor') return path('%constructor')
  if (key === '__proto__') return path('%proto')
  if (typeof value !== 'string' && !Array.isArray(value)) return path('%fn')
  if (key === 'length') return constant(value.length)
  if (/^\d+$/.test(key)) return constant(value[Number(key)])
  return path('%fn')
}

function constructorOf(of: string | undefined): string {
  if (of === undefined) return '%constructor'
  if (of === 'module') return 'module.constructor'
  if (of === 'Function.prototype' || isFunctionPath(of)) return '%Function'
  return '%constructor'
}

/** A module by its name, without `node:`. */
export function ofModule(name: string | undefined): Value | undefined {
  return name === undefined ? undefined : path(`module:${name.replace(/^node:/, '')}`)
}
