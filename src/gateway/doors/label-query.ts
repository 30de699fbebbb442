import * as z from 'zod'

/** Labels of a query, `name:value` each. All must match, so that two values of one name, which none has, are refused. */
export const labelQuery = z
  .array(z.string().regex(/^[^:]{1,100}:[^]{0,1000}$/, 'expected name:value'))
  .max(20)
  .default([])
  .transform((given) =>
    given.map((text) => [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)]),
  )
  .refine(
    (pairs) => pairs.every(([name, value]) => Object.fromEntries(pairs)[name!] === value),
    'expected one value for each name',
  )
  .transform((pairs): Readonly<Record<string, string>> => Object.fromEntries(pairs))

/** Parameters of a target: of `label` all values, of others the first. */
export function parametersOf(target = ''): Readonly<Record<string, unknown>> {
  const { searchParams } = new URL(target, 'http://query')
  return Object.fromEntries(
    [...searchParams.keys()].map((name) => [
      name,
      name === 'label' ? searchParams.getAll(name) : searchParams.get(name),
    ]),
  )
}
