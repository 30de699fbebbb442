import type { Tenant } from '../contract/config.ts'
import type { LoadedConfig } from './load.ts'
import type { KeyPath } from './positions.ts'

export interface EffectiveValue {
  readonly field: string
  readonly value: unknown
  readonly origin: string
}

/** Lists effective values with their origins, in the order of the reference; secrets are masked. */
export function explainConfig({
  config,
  adminKey,
  originOf,
}: LoadedConfig): readonly EffectiveValue[] {
  const { tenants, environment, state, hasDefaultEscalation: _, ...plain } = config
  const rows = (value: unknown, under: KeyPath): readonly EffectiveValue[] =>
    leaves(value, under).map(({ path, leaf }) => ({
      field: fieldOf(path),
      value: leaf,
      origin: originOf(writtenPath(path)).label,
    }))
  return [
    ...rows({ environment, state, ...plain }, []),
    ...tenants.flatMap((tenant) => rows(masked(tenant), ['tenants', tenant.name])),
    ...(adminKey ? [{ field: 'api_key', value: '***', origin: adminKey.variable }] : []),
  ]
}

/** Tenant with each key's hash cut to a prefix, long enough to distinguish keys. */
function masked({ keys, floor, ceilings, signing }: Tenant): object {
  return { keys: keys.map((key) => `${key.slice(0, 15)}…`), floor, ceilings, signing }
}

interface Leaf {
  readonly path: KeyPath
  readonly leaf: unknown
}

function leaves(value: unknown, path: KeyPath): readonly Leaf[] {
  if (value === undefined || isEmptyControls(value, path)) return []
  if (isLeaf(value, path)) return [{ path, leaf: value }]
  return Object.entries(value as object).flatMap(([name, inner]) =>
    leaves(inner, [...path, Array.isArray(value) ? Number(name) : name]),
  )
}

/** A phase without controls has no effect. */
function isEmptyControls(value: unknown, path: KeyPath): boolean {
  return path.at(-1) === 'controls' && Object.keys(value as object).length === 0
}

/** Values that are listed as a whole, not key by key. */
const WHOLE = new Set<unknown>([
  'network',
  'network_policy',
  'fs_policy',
  'files',
  'escalation',
  'restraint',
])

function isLeaf(value: unknown, path: KeyPath): boolean {
  if (typeof value !== 'object' || value === null || WHOLE.has(path.at(-1))) return true
  const inner = Object.values(value)
  return inner.length === 0 ? path.length > 0 : Array.isArray(value) && typeof inner[0] !== 'object'
}

/** Path as written in the file, where a phase's controls are keys of the phase, not of `controls`. */
function writtenPath(path: KeyPath): KeyPath {
  return path.filter((part, index) => part !== 'controls' || path[index - 2] !== 'phases')
}

function fieldOf(path: KeyPath): string {
  return path
    .map((part) => (/^[\w-]+$/.test(String(part)) ? String(part) : JSON.stringify(part)))
    .join('.')
}
