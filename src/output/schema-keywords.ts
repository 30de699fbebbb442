import { unitsOfStep } from './schema-budget.ts'
import { areUnique, containsEnough, itemsMatch, prefixMatches } from './schema-lists.ts'
import {
  dependentsAreThere,
  dependentsMatch,
  missing,
  namesMatch,
  othersMatch,
  propertiesMatch,
} from './schema-members.ts'
import { isEqual } from './schema-equal.ts'
import {
  first,
  type KeywordResult,
  type KeywordInput,
  type JsonObject,
  type UnlocatedMismatch,
  type Schema,
} from './schema-walk.ts'

export interface Keyword {
  readonly takes: ArgumentKind
  /** Reason or position of a mismatch. Undefined: an annotation. */
  readonly check?: KeywordCheck
}

export type KeywordCheck = (look: KeywordInput) => KeywordResult

export type ArgumentKind =
  | 'schema'
  | 'schemas'
  | 'schemaMap'
  | 'ref'
  | 'count'
  | 'number'
  | 'positive'
  | 'flag'
  | 'names'
  | 'namesMap'
  | 'types'
  | 'list'
  | 'any'

const annotations = (
  '$schema $id $comment title description default examples deprecated ' +
  'readOnly writeOnly format contentEncoding contentMediaType'
).split(' ')

/** All supported keywords. */
export const keywords: ReadonlyMap<string, Keyword> = new Map<string, Keyword>([
  ['$ref', { takes: 'ref', check: ({ arg, value, at, walk }) => walk.look(arg, value, at) }],
  ['$defs', { takes: 'schemaMap' }],
  ['definitions', { takes: 'schemaMap' }],

  ['type', { takes: 'types', check: isOfType }],
  ['enum', { takes: 'list', check: isOneOf }],
  ['const', { takes: 'any', check: isTheValue }],

  ['minimum', numbers('number', (value, bound) => value < bound && `expected at least ${bound}`)],
  ['maximum', numbers('number', (value, bound) => value > bound && `expected at most ${bound}`)],
  [
    'exclusiveMinimum',
    numbers('number', (value, bound) => value <= bound && `expected above ${bound}`),
  ],
  [
    'exclusiveMaximum',
    numbers('number', (value, bound) => value >= bound && `expected below ${bound}`),
  ],
  [
    'multipleOf',
    numbers('positive', (value, of) => !isMultiple(value, of) && `expected a multiple of ${of}`),
  ],

  ['minLength', texts((length, bound) => length < bound && `expected ${bound} characters or more`)],
  [
    'maxLength',
    texts((length, bound) => length > bound && `expected ${bound} characters or fewer`),
  ],

  ['prefixItems', { takes: 'schemas', check: onLists(prefixMatches) }],
  ['items', { takes: 'schema', check: onLists(itemsMatch) }],
  ['contains', { takes: 'schema', check: onLists(containsEnough) }],
  ['minContains', { takes: 'count' }],
  ['maxContains', { takes: 'count' }],
  ['minItems', items(tooFew)],
  ['maxItems', items(tooMany)],
  ['uniqueItems', { takes: 'flag', check: onLists(areUnique) }],

  ['properties', { takes: 'schemaMap', check: onRecords(propertiesMatch) }],
  ['additionalProperties', { takes: 'schema', check: onRecords(othersMatch) }],
  ['propertyNames', { takes: 'schema', check: onRecords(namesMatch) }],
  [
    'required',
    { takes: 'names', check: onRecords(({ value, arg, walk }) => missing(value, arg, walk)) },
  ],
  ['dependentRequired', { takes: 'namesMap', check: onRecords(dependentsAreThere) }],
  ['dependentSchemas', { takes: 'schemaMap', check: onRecords(dependentsMatch) }],
  ['minProperties', properties(tooFew)],
  ['maxProperties', properties(tooMany)],

  ['allOf', { takes: 'schemas', check: allMatch }],
  ['anyOf', { takes: 'schemas', check: anyMatches }],
  ['oneOf', { takes: 'schemas', check: oneMatches }],
  ['not', { takes: 'schema', check: doesNotMatch }],
  ['if', { takes: 'schema', check: branchMatches }],
  ['then', { takes: 'schema' }],
  ['else', { takes: 'schema' }],

  ...annotations.map((name) => [name, { takes: 'any' }] as const),
])

function numbers(
  takes: 'number' | 'positive',
  wrong: (value: number, arg: number) => string | false,
): Keyword {
  return {
    takes,
    check: ({ value, arg }) => (typeof value === 'number' && wrong(value, arg)) || undefined,
  }
}

/** Counts code points, not UTF-16 units. */
function texts(wrong: (length: number, bound: number) => string | false): Keyword {
  return {
    takes: 'count',
    check({ value, arg, walk }) {
      if (typeof value !== 'string') return undefined
      walk.spend(value.length / unitsOfStep)
      return wrong(lengthOf(value), arg) || undefined
    },
  }
}

/** Bounds the number of items. */
function items(wrong: typeof tooFew): Keyword {
  return {
    takes: 'count',
    check: onLists(({ value, arg }) => wrong(value.length, arg, 'items')),
  }
}

/** Bounds the number of properties. */
function properties(wrong: typeof tooFew): Keyword {
  return {
    takes: 'count',
    check: onRecords(({ value, arg, walk }) => wrong(walk.keys(value).length, arg, 'properties')),
  }
}

function lengthOf(text: string): number {
  let length = text.length
  for (let at = 1; at < text.length; at++) {
    const isPair = isHalf(text, at - 1, 0xd800) && isHalf(text, at, 0xdc00)
    if (isPair) length -= 1
  }
  return length
}

/** True for a high (0xd800) or low (0xdc00) surrogate. */
function isHalf(text: string, at: number, half: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === half
}

function onLists(check: (look: KeywordInput<readonly unknown[]>) => KeywordResult): KeywordCheck {
  return (look) =>
    Array.isArray(look.value) ? check(look as KeywordInput<readonly unknown[]>) : undefined
}

function onRecords(check: (look: KeywordInput<JsonObject>) => KeywordResult): KeywordCheck {
  return (look) =>
    kindOf(look.value) === 'object' ? check(look as KeywordInput<JsonObject>) : undefined
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function isOfType({ value, arg }: KeywordInput): KeywordResult {
  const { types, text }: { readonly types: ReadonlySet<string>; readonly text: string } = arg
  const kind = kindOf(value)
  const isOne = types.has(kind) || (types.has('integer') && Number.isInteger(value))
  return isOne ? undefined : `expected ${text}, found ${kind}`
}

function isOneOf({ value, arg, walk }: KeywordInput): KeywordResult {
  const values: readonly unknown[] = arg
  return values.some((one) => isEqual(one, value, walk))
    ? undefined
    : 'expected one of the values listed'
}

function isTheValue({ value, arg, walk }: KeywordInput): KeywordResult {
  return isEqual(arg, value, walk) ? undefined : 'expected the one value allowed'
}

function isMultiple(value: number, of: number): boolean {
  const times = value / of
  return Math.abs(times - Math.round(times)) <= Number.EPSILON * Math.abs(times)
}

function tooFew(count: number, bound: number, what: string): KeywordResult {
  return count < bound ? `expected ${bound} ${what} or more, found ${count}` : undefined
}

function tooMany(count: number, bound: number, what: string): KeywordResult {
  return count > bound ? `expected ${bound} ${what} or fewer, found ${count}` : undefined
}

function allMatch({ value, arg, at, walk }: KeywordInput): KeywordResult {
  return first(arg as readonly Schema[], (schema) => walk.look(schema, value, at))
}

/** Reports the first variant's mismatch; any would do. */
function anyMatches({ value, arg, at, walk }: KeywordInput): KeywordResult {
  let why: UnlocatedMismatch | undefined
  for (const schema of arg as readonly Schema[]) {
    const found = walk.look(schema, value, at)
    if (found === undefined) return undefined
    why ??= found
  }
  return why
}

function oneMatches({ value, arg, at, walk }: KeywordInput): KeywordResult {
  let why: UnlocatedMismatch | undefined
  let count = 0
  for (const schema of arg as readonly Schema[]) {
    const found = walk.look(schema, value, at)
    if (found === undefined) count += 1
    why ??= found
  }
  if (count > 1) return `matches ${count} variants, expected one`
  return count === 1 ? undefined : why
}

function doesNotMatch({ value, arg, at, walk }: KeywordInput): KeywordResult {
  return walk.look(arg, value, at) === undefined ? 'expected something else' : undefined
}

function branchMatches({ value, arg, rules, at, walk }: KeywordInput): KeywordResult {
  const branch = rules[walk.look(arg, value, at) === undefined ? 'then' : 'else']
  return branch === undefined ? undefined : walk.look(branch as Schema, value, at)
}
