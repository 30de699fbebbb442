import type { ParsedToml } from './parse.ts'
import { type KeyPath, nearest, PathTree, type Position } from './positions.ts'

/** Origin of an effective value. `label` is its text: `default`, `mayfly.toml:12`, `--port`. */
export interface ValueOrigin {
  readonly label: string
  readonly file?: string
  readonly line?: number
  readonly column?: number
}

/** Source of values; a later layer takes precedence. */
export interface ConfigLayer {
  readonly values: Readonly<Record<string, unknown>>
  origin(path: KeyPath): ValueOrigin
}

export interface MergedConfig {
  readonly values: Record<string, unknown>
  /** Origin of the value at a path; `default` if no layer set it. */
  readonly originOf: (path: KeyPath) => ValueOrigin
  /** Origin of the value, or else of the nearest enclosing table or list: the position to report for a missing key. */
  readonly originNear: (path: KeyPath) => ValueOrigin
}

export const defaultOrigin: ValueOrigin = { label: 'default' }

/**
 * Merges layers in order: tables key by key; lists, an escalation, a restraint and a network are replaced as a whole, so that
 * no list mixes two files.
 */
export function mergeLayers(layers: readonly ConfigLayer[]): MergedConfig {
  const values: Record<string, unknown> = Object.create(null)
  const origins: OriginTree = new PathTree()
  for (const layer of layers) merge(values, layer.values, [], { layer, origins })
  const find = (path: KeyPath) => origins.find(path)?.value
  return {
    values,
    originOf: (path) => find(path) ?? defaultOrigin,
    originNear: (path) => nearest(path, find) ?? defaultOrigin,
  }
}

export function fileLayer(parsed: ParsedToml): ConfigLayer {
  return {
    values: parsed.values,
    origin: (path) => fileOrigin(parsed.file, nearest(path, parsed.locate)),
  }
}

/** A single value from a variable or a flag. */
export function valueLayer(path: KeyPath, value: unknown, label: string): ConfigLayer {
  const values = path.reduceRight<unknown>((inner, name) => ({ [name]: inner }), value)
  return { values: values as Record<string, unknown>, origin: () => ({ label }) }
}

type OriginTree = PathTree<ValueOrigin>

interface MergeContext {
  readonly layer: ConfigLayer
  /** Origins of the table that is merged. */
  readonly origins: OriginTree
}

function merge(
  into: Record<string, unknown>,
  from: object,
  path: KeyPath,
  { layer, origins: table }: MergeContext,
): void {
  for (const [name, value] of Object.entries(from)) {
    if (value === undefined) continue
    const here = [...path, name]
    const origins = table.inner(name)
    if (isTable(value) && !isWhole(here)) {
      const before = isTable(into[name]) ? into[name] : Object.create(null)
      into[name] = before
      origins.value ??= layer.origin(here)
      merge(before as Record<string, unknown>, value, here, { layer, origins })
    } else {
      into[name] = value
      origins.clearInner()
      setOrigins(value, here, { layer, origins })
    }
  }
}

/** Tables that are replaced as a whole. A schedule or a zone may have the name of one. */
function isWhole(path: KeyPath): boolean {
  const last = path.at(-1)
  if (path[0] === 'schedules') return false
  if (path.length === 1) return ['escalation', 'restraint', 'network'].includes(String(last))
  return last === 'network' || last === 'network_policy' || last === 'fs_policy'
}

function isTable(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}

function setOrigins(value: unknown, path: KeyPath, { layer, origins }: MergeContext): void {
  origins.value = layer.origin(path)
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    const name = Array.isArray(value) ? Number(key) : key
    setOrigins(inner, [...path, name], { layer, origins: origins.inner(name) })
  }
}

function fileOrigin(file: string, position: Position | undefined): ValueOrigin {
  return position ? { label: `${file}:${position.line}`, file, ...position } : { label: file, file }
}
