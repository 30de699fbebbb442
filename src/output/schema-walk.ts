import type { ValuePath } from './schema-path.ts'

export type Schema = boolean | SchemaObject
export type SchemaObject = Readonly<Record<string, unknown>>
/** Object of the result or of a schema. */
export type JsonObject = Readonly<Record<string, unknown>>

export interface Mismatch {
  /** JSON Pointer into the result. */
  readonly path: string
  readonly why: string
}

/** Mismatch whose pointer is not built yet. */
export interface UnlocatedMismatch {
  readonly at: ValuePath | undefined
  readonly why: string
}

/**
 * Services of the check for its keywords. The check has charged a step for the visit and each keyword; further work
 * must be charged by the keyword before it is done.
 */
export interface CheckContext {
  look(schema: Schema, value: unknown, at: ValuePath | undefined): UnlocatedMismatch | undefined
  /** Keys of an object; charged when listed, for a large object once per check. */
  keys(value: JsonObject): readonly string[]
  spend(steps: number): void
  /** Enters and leaves a nesting level; `look` does this itself. */
  enter(): void
  leave(): void
}

export interface KeywordInput<Value = unknown> {
  readonly value: Value
  /** Prepared argument: entries of a map, target of a reference. */
  readonly arg: never
  readonly rules: SchemaObject
  readonly at: ValuePath | undefined
  readonly walk: CheckContext
}

export type KeywordResult = UnlocatedMismatch | string | undefined

/** First mismatch of the items. */
export function first<Item>(
  items: readonly Item[],
  look: (item: Item) => KeywordResult,
): KeywordResult {
  for (const item of items) {
    const found = look(item)
    if (found !== undefined) return found
  }
  return undefined
}
