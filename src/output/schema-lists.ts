import { areDistinct } from './schema-equal.ts'
import type { KeywordResult, KeywordInput, Schema } from './schema-walk.ts'

type List = KeywordInput<readonly unknown[]>

export function prefixMatches({ value, arg, at, walk }: List): KeywordResult {
  const schemas: readonly Schema[] = arg
  for (let place = 0; place < schemas.length && place < value.length; place++) {
    const found = walk.look(schemas[place]!, value[place], { above: at, key: place })
    if (found !== undefined) return found
  }
  return undefined
}

export function itemsMatch({ value, arg, rules, at, walk }: List): KeywordResult {
  const from = Array.isArray(rules['prefixItems']) ? rules['prefixItems'].length : 0
  for (let place = from; place < value.length; place++) {
    const found = walk.look(arg, value[place], { above: at, key: place })
    if (found !== undefined) return found
  }
  return undefined
}

export function containsEnough({ value, arg, rules, at, walk }: List): KeywordResult {
  const { minContains: min = 1, maxContains: max = Infinity } = rules as Record<string, number>
  let count = 0
  for (const item of value) if (walk.look(arg, item, at) === undefined) count += 1
  if (count >= min && count <= max) return undefined
  return `found ${count} items of the kind that is to be there`
}

export function areUnique({ value, arg, walk }: List): KeywordResult {
  return !arg || areDistinct(value, walk) ? undefined : 'expected no item twice'
}
