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
    if (!subject)
      return Object.hasOwn(functions, name) ? bounded(functions[name]!(values)) : undefined
    if (typeof subject.value === 'string') return ofText(subject.value, name, values)
    return Array.isArray(subject.value)
      ? ofList(subject.value, name, values)
      : ofOther(subject.value, name, values)
  } catch {
    return undefined // throws at run time, so it is no constant
  }
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
}

function unescapePercent(text: string): string {
  return text.replace(/%u([\da-f]{4})|%([\da-f]{2})/gi, (_, wide?: string, narrow?: string) =>
    String.fromCharCode(Number.parseInt(wide ?? narrow ?? '0', 16)),
  )
}

/** Folds methods of String. Replacements take plain text only, never a pattern. */
function ofText(text: string, name: string, [first, second]: Given): Constant | undefined {
  const a = first === undefined ? undefined : Number(first)
  const b = second === undefined ? undefined : Number(second)
  switch (name) {
    case 'split':
      return first === undefined ? undefined : bounded(text.split(String(first)))
    case 'concat':
      return bounded(text + String(first ?? '') + String(second ?? ''))
    case 'slice':
      return folded(text.slice(a, b))
    case 'substring':
      return folded(text.substring(a ?? 0, b))
    case 'substr':
      return folded(text.slice(a ?? 0, b === undefined ? undefined : (a ?? 0) + b))
    case 'charAt':
      return folded(text.charAt(a ?? 0))
    case 'at':
      return folded(text.at(a ?? 0))
    case 'charCodeAt':
    case 'codePointAt':
      return folded(text.charCodeAt(a ?? 0))
    case 'replace':
      return folded(text.replace(String(first), () => String(second)))
    case 'replaceAll':
      return bounded(text.replaceAll(String(first), () => String(second)))
    case 'toLowerCase':
      return folded(text.toLowerCase())
    case 'toUpperCase':
      return folded(text.toUpperCase())
    case 'trim':
      return folded(text.trim())
    case 'toString':
    case 'valueOf':
    case 'normalize':
      return folded(text)
    case 'repeat':
      return text.length * (a ?? 0) <= textUnitsMax ? folded(text.repeat(a ?? 0)) : undefined
    default:
      return undefined
  }
}

function ofList(
  list: readonly Primitive[],
  name: string,
  [first, second]: Given,
): Constant | undefined {
  switch (name) {
    case 'join':
      return bounded(list.join(first === undefined ? ',' : String(first)))
    case 'reverse':
    case 'toReversed':
      return folded(list.toReversed())
    case 'slice':
      return folded(
        list.slice(Number(first ?? 0), second === undefined ? undefined : Number(second)),
      )
    case 'concat':
      return bounded(list.concat((first ?? []) as Primitive, (second ?? []) as Primitive))
    case 'at':
      return folded(list.at(Number(first ?? 0)))
    case 'toString':
      return bounded(list.join())
    default:
      return undefined
  }
}

function ofOther(value: Constant['value'], name: string, [radix]: Given): Constant | undefined {
  if (name !== 'toString') return undefined
  return folded(typeof value === 'number' ? value.toString(Number(radix ?? 10)) : String(value))
}
