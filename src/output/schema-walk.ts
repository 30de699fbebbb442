import type { Place } from './schema-place.ts'

export type Schema = boolean | Rules
export type Rules = Readonly<Record<string, unknown>>
/** An object of the result, or of a schema. */
export type Members = Readonly<Record<string, unknown>>

export interface Mismatch {
  /** JSON Pointer into the result. */
  readonly path: string
  readonly why: string
}

/** A mismatch whose place is not written as a pointer yet. */
export interface Miss {
  readonly at: Place | undefined
  readonly why: string
}

/**
 * What a keyword needs of the check it is part of. A check has counted a step for the look and one for each keyword
 * before it asks; whatever a keyword goes through beyond that, it has to spend before it does.
 */
export interface Walk {
  look(schema: Schema, value: unknown, at: Place | undefined): Miss | undefined
  /** The keys of an object. Counts them where it has to list them, which of a large one is once in a check. */
  keys(value: Members): readonly string[]
  spend(steps: number): void
  /** Goes one level down in the value, and up again; a look does so by itself. */
  enter(): void
  leave(): void
}

export interface Look<Value = unknown> {
  readonly value: Value
  /** The keyword's own argument, as a plan made it ready: of a map its entries, of a reference what it names. */
  readonly arg: never
  readonly rules: Rules
  readonly at: Place | undefined
  readonly walk: Walk
}

export type Found = Miss | string | undefined

/** What is found first, item by item. */
export function first<Item>(items: readonly Item[], look: (item: Item) => Found): Found {
  for (const item of items) {
    const found = look(item)
    if (found !== undefined) return found
  }
  return undefined
}
