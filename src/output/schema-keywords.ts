import { canonicalJson } from '../lib/canonical-json.ts'

export type Schema = boolean | Rules
export type Rules = Readonly<Record<string, unknown>>

export interface Mismatch {
  /** JSON Pointer into the result. */
  readonly path: string
  readonly why: string
}

/** What a keyword needs of the check it is part of. */
export interface Walk {
  look(schema: Schema, value: unknown, path: string): Mismatch | undefined
  ref(to: string, value: unknown, path: string): Mismatch | undefined
  spend(steps: number): void
}

export interface Keyword {
  readonly takes: Takes
  /** Why the value does not match, or where in it something does not. A keyword without one is a note. */
  readonly check?: (look: Look) => Mismatch | string | undefined
}

export type Takes =
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

interface Look<Value = unknown> {
  readonly value: Value
  /** The keyword's own argument, of the shape that it takes. */
  readonly arg: never
  readonly rules: Rules
  readonly path: string
  readonly walk: Walk
}

type Found = Mismatch | string | undefined
type Record_ = Readonly<Record<string, unknown>>

const note: Keyword = { takes: 'any' }

/** Every keyword there is; any other is not supported. */
export const keywords: ReadonlyMap<string, Keyword> = new Map<string, Keyword>([
  ['$ref', { takes: 'ref', check: ({ arg, value, path, walk }) => walk.ref(arg, value, path) }],
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
  [
    'minItems',
    { takes: 'count', check: onLists(({ value, arg }) => tooFew(value.length, arg, 'items')) },
  ],
  [
    'maxItems',
    { takes: 'count', check: onLists(({ value, arg }) => tooMany(value.length, arg, 'items')) },
  ],
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
  [
    'minProperties',
    {
      takes: 'count',
      check: onRecords(({ value, arg }) => tooFew(Object.keys(value).length, arg, 'properties')),
    },
  ],
  [
    'maxProperties',
    {
      takes: 'count',
      check: onRecords(({ value, arg }) => tooMany(Object.keys(value).length, arg, 'properties')),
    },
  ],

  ['allOf', { takes: 'schemas', check: allMatch }],
  ['anyOf', { takes: 'schemas', check: anyMatches }],
  ['oneOf', { takes: 'schemas', check: oneMatches }],
  ['not', { takes: 'schema', check: doesNotMatch }],
  ['if', { takes: 'schema', check: branchMatches }],
  ['then', { takes: 'schema' }],
  ['else', { takes: 'schema' }],

  ...[
    '$schema',
    '$id',
    '$comment',
    'title',
    'description',
    'default',
    'examples',
    'deprecated',
  ].map(asNote),
  ...['readOnly', 'writeOnly', 'format', 'contentEncoding', 'contentMediaType'].map(asNote),
])

function asNote(name: string): [string, Keyword] {
  return [name, note]
}

function numbers(
  takes: 'number' | 'positive',
  wrong: (value: number, arg: number) => string | false,
): Keyword {
  return {
    takes,
    check: ({ value, arg }) => (typeof value === 'number' && wrong(value, arg)) || undefined,
  }
}

/** Lengths count characters, not UTF-16 units. */
function texts(wrong: (length: number, bound: number) => string | false): Keyword {
  return {
    takes: 'count',
    check({ value, arg, walk }) {
      if (typeof value !== 'string') return undefined
      walk.spend(value.length / 16)
      return (
        wrong(value.length - (value.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0), arg) ||
        undefined
      )
    },
  }
}

function onLists(check: (look: Look<readonly unknown[]>) => Found): (look: Look) => Found {
  return (look) => (Array.isArray(look.value) ? check(look as Look<readonly unknown[]>) : undefined)
}

function onRecords(check: (look: Look<Record_>) => Found): (look: Look) => Found {
  return (look) => (kindOf(look.value) === 'object' ? check(look as Look<Record_>) : undefined)
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}

function isOfType({ value, arg }: Look): Found {
  const types: readonly string[] = [arg].flat()
  const kind = kindOf(value)
  const isOne = types.includes(kind) || (types.includes('integer') && Number.isInteger(value))
  return isOne ? undefined : `expected ${types.join(' or ')}, found ${kind}`
}

function isOneOf({ value, arg, walk }: Look): Found {
  const values: readonly unknown[] = arg
  return values.some((one) => isSame(one, value, walk))
    ? undefined
    : 'expected one of the values listed'
}

function isTheValue({ value, arg, walk }: Look): Found {
  return isSame(arg, value, walk) ? undefined : 'expected the one value allowed'
}

function isSame(a: unknown, b: unknown, walk: Walk): boolean {
  walk.spend(1)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b
  return textOf(a, walk) === textOf(b, walk)
}

function textOf(value: unknown, walk: Walk): string {
  const text = canonicalJson(value)
  walk.spend(text.length / 16)
  return text
}

function isMultiple(value: number, of: number): boolean {
  const times = value / of
  return Math.abs(times - Math.round(times)) <= Number.EPSILON * Math.abs(times)
}

function tooFew(count: number, bound: number, what: string): Found {
  return count < bound ? `expected ${bound} ${what} or more, found ${count}` : undefined
}

function tooMany(count: number, bound: number, what: string): Found {
  return count > bound ? `expected ${bound} ${what} or fewer, found ${count}` : undefined
}

function first<Item>(items: readonly Item[], look: (item: Item, place: number) => Found): Found {
  for (const [place, item] of items.entries()) {
    const found = look(item, place)
    if (found !== undefined) return found
  }
  return undefined
}

function prefixMatches({ value, arg, path, walk }: Look<readonly unknown[]>): Found {
  const schemas: readonly Schema[] = arg
  return first(schemas.slice(0, value.length), (schema, place) =>
    walk.look(schema, value[place], `${path}/${place}`),
  )
}

function itemsMatch({ value, arg, rules, path, walk }: Look<readonly unknown[]>): Found {
  const from = Array.isArray(rules['prefixItems']) ? rules['prefixItems'].length : 0
  return first(value.slice(from), (item, place) => walk.look(arg, item, `${path}/${from + place}`))
}

function containsEnough({ value, arg, rules, path, walk }: Look<readonly unknown[]>): Found {
  const count = value.filter((item) => walk.look(arg, item, path) === undefined).length
  const { minContains: min = 1, maxContains: max = Infinity } = rules as Record<string, number>
  if (count >= min && count <= max) return undefined
  return `found ${count} items of the kind that is to be there`
}

function areUnique({ value, arg, walk }: Look<readonly unknown[]>): Found {
  if (!arg || new Set(value.map((item) => textOf(item, walk))).size === value.length)
    return undefined
  return 'expected no item twice'
}

function propertiesMatch({ value, arg, path, walk }: Look<Record_>): Found {
  return first(Object.entries<Schema>(arg), ([name, schema]) =>
    Object.hasOwn(value, name)
      ? walk.look(schema, value[name], inside(path, name))
      : (walk.spend(1) as undefined),
  )
}

function othersMatch({ value, arg, rules, path, walk }: Look<Record_>): Found {
  const known = (rules['properties'] ?? {}) as Record_
  return first(Object.keys(value), (name) => {
    if (Object.hasOwn(known, name)) return undefined
    return walk.look(arg, value[name], inside(path, name))
  })
}

function namesMatch({ value, arg, path, walk }: Look<Record_>): Found {
  return first(Object.keys(value), (name) => walk.look(arg, name, inside(path, name)))
}

function missing(value: Record_, names: readonly string[], walk: Walk): Found {
  walk.spend(names.length)
  const name = names.find((name) => !Object.hasOwn(value, name))
  return name === undefined ? undefined : `the property "${name}" is missing`
}

function dependentsAreThere({ value, arg, walk }: Look<Record_>): Found {
  return first(Object.entries<readonly string[]>(arg), ([name, names]) =>
    Object.hasOwn(value, name) ? missing(value, names, walk) : undefined,
  )
}

function dependentsMatch({ value, arg, path, walk }: Look<Record_>): Found {
  return first(Object.entries<Schema>(arg), ([name, schema]) =>
    Object.hasOwn(value, name) ? walk.look(schema, value, path) : undefined,
  )
}

function allMatch({ value, arg, path, walk }: Look): Found {
  return first(arg as readonly Schema[], (schema) => walk.look(schema, value, path))
}

/** Says why the first one does not match: with one variant meant, it is as good as any. */
function anyMatches({ value, arg, path, walk }: Look): Found {
  let why: Mismatch | undefined
  for (const schema of arg as readonly Schema[]) {
    const found = walk.look(schema, value, path)
    if (found === undefined) return undefined
    why ??= found
  }
  return why
}

function oneMatches(look: Look): Found {
  const { value, arg, path, walk } = look
  const matches = (arg as readonly Schema[]).filter(
    (schema) => walk.look(schema, value, path) === undefined,
  )
  if (matches.length > 1) return `matches ${matches.length} variants, expected one`
  return matches.length === 1 ? undefined : anyMatches(look)
}

function doesNotMatch({ value, arg, path, walk }: Look): Found {
  return walk.look(arg, value, path) === undefined ? 'expected something else' : undefined
}

function branchMatches({ value, arg, rules, path, walk }: Look): Found {
  const branch = rules[walk.look(arg, value, path) === undefined ? 'then' : 'else']
  return branch === undefined ? undefined : walk.look(branch as Schema, value, path)
}

function inside(path: string, name: string): string {
  return `${path}/${escapePointer(name)}`
}

export function escapePointer(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
