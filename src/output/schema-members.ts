import { unitsOfStep } from './schema-budget.ts'
import { cut } from './schema-path.ts'
import {
  first,
  type KeywordResult,
  type KeywordInput,
  type JsonObject,
  type Schema,
  type CheckContext,
} from './schema-walk.ts'

export function propertiesMatch({ value, arg, at, walk }: KeywordInput<JsonObject>): KeywordResult {
  return first(arg as Entries<Schema>, ([name, schema]) =>
    has(value, name, walk) ? walk.look(schema, value[name], { above: at, key: name }) : undefined,
  )
}

export function othersMatch({
  value,
  arg,
  rules,
  at,
  walk,
}: KeywordInput<JsonObject>): KeywordResult {
  const known = (rules['properties'] ?? {}) as JsonObject
  return first(walk.keys(value), (name) => {
    if (has(known, name, walk)) return undefined
    return walk.look(arg, value[name], { above: at, key: name })
  })
}

export function namesMatch({ value, arg, at, walk }: KeywordInput<JsonObject>): KeywordResult {
  return first(walk.keys(value), (name) => walk.look(arg, name, { above: at, key: name }))
}

export function missing(
  value: JsonObject,
  names: readonly string[],
  walk: CheckContext,
): KeywordResult {
  const name = names.find((name) => !has(value, name, walk))
  return name === undefined ? undefined : `the property "${cut(name)}" is missing`
}

/** Charges the name's length: V8 hashes the whole of a name that is not internalised yet. */
function has(value: JsonObject, name: string, walk: CheckContext): boolean {
  walk.spend(1 + name.length / unitsOfStep)
  return Object.hasOwn(value, name)
}

export function dependentsAreThere({ value, arg, walk }: KeywordInput<JsonObject>): KeywordResult {
  return first(arg as Entries<readonly string[]>, ([name, names]) =>
    has(value, name, walk) ? missing(value, names, walk) : undefined,
  )
}

export function dependentsMatch({ value, arg, at, walk }: KeywordInput<JsonObject>): KeywordResult {
  return first(arg as Entries<Schema>, ([name, schema]) =>
    has(value, name, walk) ? walk.look(schema, value, at) : undefined,
  )
}

type Entries<Value> = readonly (readonly [string, Value])[]
