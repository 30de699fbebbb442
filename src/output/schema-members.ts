import { unitsOfStep } from './schema-budget.ts'
import { cut } from './schema-place.ts'
import {
  first,
  type Found,
  type Look,
  type Members,
  type Schema,
  type Walk,
} from './schema-walk.ts'

export function propertiesMatch({ value, arg, at, walk }: Look<Members>): Found {
  return first(arg as Entries<Schema>, ([name, schema]) =>
    has(value, name, walk) ? walk.look(schema, value[name], { above: at, key: name }) : undefined,
  )
}

export function othersMatch({ value, arg, rules, at, walk }: Look<Members>): Found {
  const known = (rules['properties'] ?? {}) as Members
  return first(walk.keys(value), (name) => {
    if (has(known, name, walk)) return undefined
    return walk.look(arg, value[name], { above: at, key: name })
  })
}

export function namesMatch({ value, arg, at, walk }: Look<Members>): Found {
  return first(walk.keys(value), (name) => walk.look(arg, name, { above: at, key: name }))
}

export function missing(value: Members, names: readonly string[], walk: Walk): Found {
  const name = names.find((name) => !has(value, name, walk))
  return name === undefined ? undefined : `the property "${cut(name)}" is missing`
}

/** V8 looks through the whole of a name that no object has yet. */
function has(value: Members, name: string, walk: Walk): boolean {
  walk.spend(1 + name.length / unitsOfStep)
  return Object.hasOwn(value, name)
}

export function dependentsAreThere({ value, arg, walk }: Look<Members>): Found {
  return first(arg as Entries<readonly string[]>, ([name, names]) =>
    has(value, name, walk) ? missing(value, names, walk) : undefined,
  )
}

export function dependentsMatch({ value, arg, at, walk }: Look<Members>): Found {
  return first(arg as Entries<Schema>, ([name, schema]) =>
    has(value, name, walk) ? walk.look(schema, value, at) : undefined,
  )
}

type Entries<Value> = readonly (readonly [string, Value])[]
