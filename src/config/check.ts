import * as z from 'zod'
import { type Config, configSchema, type ConfigValues, isProduction } from '../contract/config.ts'
import { plainWords } from '../contract/checked.ts'
import { deepFreeze } from '../lib/deep-freeze.ts'
import { capabilityFaults, capabilityWarnings } from './capability-names.ts'
import type { KeyPath } from './positions.ts'
import { scheduleFaults, scheduleWarnings } from './schedules.ts'
import { nearHint } from './variables.ts'
import { duplicates, fault, type Fault } from './fault.ts'

export type ConfigCheck =
  | { readonly ok: true; readonly values: ConfigValues; readonly warnings: readonly Fault[] }
  | { readonly ok: false; readonly faults: readonly [Fault, ...Fault[]] }

/** Validates values: first the schema, then rules that no schema can express. */
export function checkConfig(values: unknown, environment: string): ConfigCheck {
  const parsed = configSchema.safeParse(values)
  const faults = parsed.success
    ? [...dateFaults(values, []), ...faultsOf(parsed.data, environment)]
    : parsed.error.issues.flatMap((issue) => faultsOfIssue(issue))
  const [first, ...rest] = faults
  if (first) return { ok: false, faults: [first, ...rest] }
  if (!parsed.success) throw new Error('A schema refused without an issue')
  const { data } = parsed
  const warnings = [...scheduleWarnings(data), ...capabilityWarnings(data)]
  return { ok: true, values: data, warnings }
}

function faultsOfIssue(issue: z.core.$ZodIssue): readonly Fault[] {
  const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)))
  if (issue.code === 'invalid_key')
    return issue.issues.map(({ message }) => fault(path, `invalid name: ${shortened(message)}`))
  if (issue.code !== 'unrecognized_keys') return [fault(path, shortened(issue.message))]
  const known = keysAt(path)
  return issue.keys.map((key) => {
    const hint = nearHint(key, known)
    const expected = known.length > 0 ? `; expected one of ${known.join(', ')}` : ''
    return fault([...path, key], `unknown key "${key}"${hint || expected}`)
  })
}

/** Words of zod for a person; a date is an object of the parser, whose name differs between its builds. */
function shortened(message: string): string {
  return plainWords(message)
    .replace(/^Invalid /, 'invalid ')
    .replace(/received _?TomlDate$/, 'received a date or time')
}

/** Dates that the schema took for tables without keys. */
function* dateFaults(value: unknown, path: KeyPath): Generator<Fault> {
  if (value instanceof Date) yield fault(path, 'expected a table, received a date or time')
  else if (typeof value === 'object' && value !== null)
    for (const [key, inner] of Object.entries(value))
      yield* dateFaults(inner, [...path, Array.isArray(value) ? Number(key) : key])
}

/** Keys a table may have, read from the JSON schema of the configuration. */
function keysAt(path: KeyPath): readonly string[] {
  let node: z.core.JSONSchema.BaseSchema | undefined = inputSchema()
  for (const part of path) {
    const inner: unknown =
      typeof part === 'number'
        ? node?.items
        : (node?.properties?.[part] ?? node?.additionalProperties)
    node = typeof inner === 'object' ? (inner as z.core.JSONSchema.BaseSchema) : undefined
  }
  return Object.keys(node?.properties ?? {})
}

/** Input schema, for messages and for the reference. */
export function inputSchema(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' })
}

function* faultsOf(values: ConfigValues, environment: string): Generator<Fault> {
  if (values.default_provider === 'mock' && isProduction({ environment }))
    yield fault(
      ['default_provider'],
      `expected a provider that isolates: "mock" is refused when MAYFLY_ENV is "${environment}"`,
    )
  yield* tlsFaults(values.server)
  yield* duplicateFaults(values)
  yield* egressFaults(values.egress)
  yield* scheduleFaults(values.schedules)
  yield* capabilityFaults(values)
  for (const part of ['rules', 'intel'] as const)
    if (values[part].length > 0) yield fault([part], `[[${part}]] is not supported yet`)
}

function* tlsFaults({ tls_cert, tls_key, tls_dev }: ConfigValues['server']): Generator<Fault> {
  const given = tls_cert === undefined ? 'tls_key' : 'tls_cert'
  const missing = tls_cert === undefined ? 'tls_cert' : 'tls_key'
  if ((tls_cert === undefined) !== (tls_key === undefined))
    yield fault(['server', given], `expected "${missing}" as well`)
  if (tls_dev && (tls_cert !== undefined || tls_key !== undefined))
    yield fault(['server', 'tls_dev'], 'expected a certificate or tls_dev, not both')
}

function* egressFaults({ proxy, ...others }: ConfigValues['egress']): Generator<Fault> {
  const port = Number(proxy?.match(/:(\d+)\/?$/)?.[1] ?? 1)
  if (port < 1 || port > 65_535) yield fault(['egress', 'proxy'], 'expected a port from 1 to 65535')
  if (proxy === undefined && others.proxy_credentials_env !== undefined)
    yield fault(['egress', 'proxy_credentials_env'], 'expected "proxy" as well')
}

function* duplicateFaults({ tenants }: ConfigValues): Generator<Fault> {
  const path = (index: number, ...rest: KeyPath) => ['tenants', index, ...rest]
  yield* duplicates(
    tenants.map(({ name }, index) => ({ value: name, owner: name, path: path(index, 'name') })),
    (name) => `expected one tenant "${name}", found two`,
  )
  yield* duplicates(
    tenants.flatMap(({ name: owner, keys }, index) =>
      keys.map((value, at) => ({ value, owner, path: path(index, 'keys', at) })),
    ),
    (_, owner) => `expected a key that no other tenant has; "${owner}" has it too`,
  )
}

/** Final configuration: the tenant `default` first, deeply frozen. */
export function finishConfig(
  values: ConfigValues,
  facts: Pick<Config, 'state' | 'environment' | 'hasDefaultEscalation'>,
): Config {
  const own = values.tenants.find(({ name }) => name === 'default')
  const tenants = [
    own ?? { name: 'default', keys: [], ceilings: {}, signing: { required: false, signers: 1 } },
    ...values.tenants.filter((tenant) => tenant !== own),
  ]
  return deepFreeze({ ...values, tenants, ...facts })
}
