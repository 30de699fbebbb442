import type { Constant, Primitive, Value } from './constant.ts'

/** Longest text created by constant folding. */
const textUnitsMax = 65_536

/** Folds a binary operator on constants; undefined if a side is not constant. */
export function foldBinary(
  operator: string,
  left: Value | undefined,
  right: Value | undefined,
): Constant | undefined {
  if (left?.kind !== 'constant' || right?.kind !== 'constant') return undefined
  const [a, b] = [plain(left.value), plain(right.value)]
  if (operator === '+') return bounded(add(a, b))
  const fold = arithmetic[operator]
  return fold ? folded(fold(Number(a), Number(b))) : undefined
}

export function foldUnary(operator: string, value: Value | undefined): Constant | undefined {
  if (operator === 'void') return folded(undefined)
  if (value?.kind !== 'constant') return undefined
  const argument = plain(value.value)
  if (operator === '-') return folded(-Number(argument))
  if (operator === '+') return folded(Number(argument))
  if (operator === '~') return folded(~Number(argument))
  if (operator === '!') return folded(Array.isArray(value.value) ? false : !argument)
  return undefined
}

/**
 * Folds a call of a method on a constant (`subject`), or of a global function by its path, with constant
 * arguments.
 */
export function foldCall(
  name: string,
  subject: Constant | undefined,
  given: readonly (Value | undefined)[],
): Constant | undefined {
  const values: (Primitive | readonly Primitive[])[] = []
  for (const value of given) {
    if (value?.kind !== 'constant') return undefined
    values.push(value.value)
  }
  try {
    if (!subject) return isFolded(name) ? bounded(functions[name]!(values)) : undefined
    const asked = argumentsOf(values)
    if (typeof subject.value === 'string') return textMethods[name]?.(subject.value, asked)
    return Array.isArray(subject.value)
      ? listMethods[name]?.(subject.value, asked)
      : ofOther(subject.value, name, asked)
  } catch {
    return undefined // throws at run time, so it is no constant
  }
}

/** Folds `replace`, `match` and `split` by a pattern that takes linear time: without quantifiers and groups. */
export function foldPattern(
  name: string | undefined,
  text: string,
  { pattern, flags }: { readonly pattern: string; readonly flags: string },
  by: Value | undefined,
): Constant | undefined {
  if (/[*+?{}()|]|\\[1-9bBk]/.test(pattern)) return undefined
  const matcher = new RegExp(pattern, flags)
  if (name === 'match' && flags.includes('g')) return bounded(text.match(matcher) ?? [])
  if (name === 'split') return bounded(text.split(matcher))
  const isReplaced = (name === 'replace' || name === 'replaceAll') && by?.kind === 'constant'
  return isReplaced ? bounded(text.replace(matcher, () => String(by.value))) : undefined
}

/** True for a global function that is folded. */
export function isFolded(name: string): boolean {
  return Object.hasOwn(functions, name)
}

type Given = readonly (Primitive | readonly Primitive[])[]

function folded(value: Constant['value']): Constant {
  return { kind: 'constant', value }
}

function bounded(value: Constant['value']): Constant | undefined {
  const length = typeof value === 'string' || Array.isArray(value) ? value.length : 0
  return length <= textUnitsMax ? folded(value) : undefined
}

function plain(value: Constant['value']): Primitive {
  return Array.isArray(value) ? value.join() : (value as Primitive)
}

function add(a: Primitive, b: Primitive): Primitive {
  return typeof a === 'string' || typeof b === 'string' ? `${a}${b}` : Number(a) + Number(b)
}

const arithmetic: Record<string, ((a: number, b: number) => number) | undefined> = {
  __proto__: null as never,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '%': (a, b) => a % b,
  '**': (a, b) => a ** b,
  '<<': (a, b) => a << b,
  '>>': (a, b) => a >> b,
  '>>>': (a, b) => a >>> b,
  '&': (a, b) => a & b,
  '|': (a, b) => a | b,
  '^': (a, b) => a ^ b,
}

const functions: Record<string, (given: Given) => Constant['value']> = {
  'String.fromCharCode': (given) => String.fromCharCode(...given.map(Number)),
  'String.fromCodePoint': (given) => String.fromCodePoint(...given.map(Number)),
  String: ([value]) => String(value),
  Number: ([value]) => Number(value),
  parseInt: ([text, radix]) => Number.parseInt(String(text), Number(radix ?? 10)),
  atob: ([text]) => atob(String(text)),
  btoa: ([text]) => btoa(String(text)),
  unescape: ([text]) => unescapePercent(String(text)),
  decodeURIComponent: ([text]) => decodeURIComponent(String(text)),
  decodeURI: ([text]) => decodeURI(String(text)),
  'Array.from': ([list]) => (Array.isArray(list) ? list : Array.from(String(list))),
  'Math.pow': ([base, exponent]) => Number(base) ** Number(exponent),
}

function unescapePercent(text: string): string {
  return text.replace(/%u([\da-f]{4})|%([\da-f]{2})/gi, (_, wide?: string, narrow?: string) =>
    String.fromCharCode(Number.parseInt(wide ?? narrow ?? '0', 16)),
  )
}

interface Arguments {
  readonly all: Given
  readonly first: Given[number]
  readonly second: Given[number]
  /** Both as numbers, where they are given. */
  readonly a: number | undefined
  readonly b: number | undefined
}

type Methods<Subject> = Readonly<
  Record<string, ((subject: Subject, given: Arguments) => Constant | undefined) | undefined>
>

const itself = (value: Constant['value']) => folded(value)
const unitAt = (text: string, { a = 0 }: Arguments) => folded(text.charCodeAt(a))
const turned = (list: readonly Primitive[]) => folded(list.toReversed())
const joined = (list: readonly Primitive[]) => bounded(list.join())

/** Methods of String. Replacements take plain text only, never a pattern. */
const textMethods: Methods<string> = {
  __proto__: null as never,
  split: (text, { first }) =>
    first === undefined ? undefined : bounded(text.split(String(first))),
  concat: (text, { all }) => bounded(text.concat(...all.map(String))),
  slice: (text, { a, b }) => folded(text.slice(a, b)),
  substring: (text, { a = 0, b }) => folded(text.substring(a, b)),
  substr: (text, { a = 0, b }) => folded(text.slice(a, b === undefined ? undefined : a + b)),
  charAt: (text, { a = 0 }) => folded(text.charAt(a)),
  at: (text, { a = 0 }) => folded(text.at(a)),
  charCodeAt: unitAt,
  codePointAt: unitAt,
  replace: (text, { first, second }) => folded(text.replace(String(first), () => String(second))),
  replaceAll: (text, { first, second }) =>
    bounded(text.replaceAll(String(first), () => String(second))),
  toLowerCase: (text) => folded(text.toLowerCase()),
  toUpperCase: (text) => folded(text.toUpperCase()),
  trim: (text) => folded(text.trim()),
  toString: itself,
  valueOf: itself,
  normalize: itself,
  repeat: (text, { a = 0 }) =>
    text.length * a <= textUnitsMax ? folded(text.repeat(a)) : undefined,
}

const listMethods: Methods<readonly Primitive[]> = {
  __proto__: null as never,
  join: (list, { first }) => bounded(list.join(first === undefined ? ',' : String(first))),
  reverse: turned,
  toReversed: turned,
  slice: (list, { a = 0, b }) => folded(list.slice(a, b)),
  concat: (list, { all }) => bounded(list.concat(...(all as Primitive[]))),
  pop: (list) => folded(list.at(-1)),
  shift: (list) => folded(list[0]),
  at: (list, { a = 0 }) => folded(list.at(a)),
  toString: joined,
}

function ofOther(value: Constant['value'], name: string, { a }: Arguments): Constant | undefined {
  if (name !== 'toString') return undefined
  return folded(typeof value === 'number' ? value.toString(a ?? 10) : String(value))
}

function argumentsOf(all: Given): Arguments {
  const [first, second] = all
  const [a, b] = [first, second].map((one) => (one === undefined ? undefined : Number(one)))
  return { all, first, second, a, b }
}
