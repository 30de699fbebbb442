import { MayflyError } from '../contract/error.ts'
import { StepBudget } from './schema-budget.ts'
import { SchemaCheck } from './schema-check.ts'
import { keywords, type ArgumentKind } from './schema-keywords.ts'
import { escapePointer } from './schema-path.ts'
import { SchemaPlan, resolve } from './schema-plan.ts'
import type { Mismatch, Schema } from './schema-walk.ts'

/** Limits of a schema: subschemas and nesting. */
const partsMax = 10_000
const levelsMax = 64

/** Mismatch, or undefined if the value matches. Paths are cut to 1,000 units. */
export type SchemaValidator = (value: unknown) => Mismatch | undefined

/**
 * Compiles a JSON Schema (2020-12) for results.
 *
 * Checking runs in the server's process, with a caller's schema on a guest's data, so its work is bounded: doubly
 * branching references would keep a plain validator busy for years, and a regular expression may backtrack
 * exponentially. All values of one check share a budget, because a batch has many; once it is spent, nothing
 * matches.
 *
 * Unsupported keywords (`pattern`, `unevaluatedProperties`, remote references …) are errors, never ignored; `format`
 * is an annotation, as in the standard. Throws MayflyError INVALID with the position in the schema (`details.path`,
 * a JSON Pointer).
 *
 *     compileSchema({ type: 'object', required: ['id'] })({})   // { path: '', why: 'the property "id" is missing' }
 */
export function compileSchema(schema: unknown, budget = new StepBudget()): SchemaValidator {
  new Reader(schema).run()
  const plan = new SchemaPlan(schema as Schema)
  return (value) => new SchemaCheck(plan, budget).run(schema as Schema, value)
}

class Reader {
  readonly #root: unknown
  readonly #read = new Set<unknown>([true, false])
  readonly #refs: { readonly path: string; readonly to: string }[] = []
  #parts = 0

  constructor(root: unknown) {
    this.#root = root
  }

  /** References may only target subschemas, not defaults or examples. */
  run(): void {
    this.#schema(this.#root, '', 0)
    for (const { path, to } of this.#refs) {
      const isRead = this.#read.has(resolve(this.#root as Schema, to))
      if (!isRead) fail(path, 'expected a reference to a part of this schema')
    }
  }

  #schema(schema: unknown, path: string, level: number): void {
    this.#parts += 1
    if (level > levelsMax) fail(path, `it is nested deeper than ${levelsMax}`)
    if (this.#parts > partsMax) fail(path, `it has more than ${partsMax} parts`)
    if (typeof schema === 'boolean') return
    if (!isRecord(schema)) return fail(path, 'expected an object or a boolean')
    this.#read.add(schema)
    for (const [name, value] of Object.entries(schema)) {
      this.#keyword(name, value, `${path}/${escapePointer(name)}`, level)
    }
  }

  #keyword(name: string, value: unknown, path: string, level: number): void {
    const takes = keywords.get(name)?.takes
    if (!takes) return fail(path, `the keyword "${name.slice(0, 60)}" is not supported`)
    const shape = shapes[takes]
    if (!shape.is(value)) return fail(path, `expected ${shape.text}`)
    if (takes === 'ref') this.#refs.push({ path, to: value as string })
    for (const [key, inner] of parts(takes, value)) {
      this.#schema(inner, key === '' ? path : `${path}/${escapePointer(key)}`, level + 1)
    }
  }
}

function parts(takes: ArgumentKind, value: unknown): readonly (readonly [string, unknown])[] {
  if (takes === 'schema') return [['', value]]
  return takes === 'schemas' || takes === 'schemaMap' ? Object.entries(value as object) : []
}

const typeNames = ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string']

/** Argument type of each keyword, with its description. */
const shapes = {
  schema: { is: () => true, text: 'a schema' },
  schemas: { is: (v: unknown) => Array.isArray(v) && v.length > 0, text: 'an array of schemas' },
  schemaMap: { is: isRecord, text: 'an object of schemas' },
  ref: { is: isText, text: 'a reference such as "#/$defs/name"' },
  count: { is: (v: unknown) => Number.isInteger(v) && (v as number) >= 0, text: 'a whole number' },
  number: { is: (v: unknown) => Number.isFinite(v), text: 'a number' },
  positive: {
    is: (v: unknown) => Number.isFinite(v) && (v as number) > 0,
    text: 'a number above 0',
  },
  flag: { is: (v: unknown) => typeof v === 'boolean', text: 'true or false' },
  names: { is: isNames, text: 'an array of names' },
  namesMap: {
    is: (v: unknown) => isRecord(v) && Object.values(v).every(isNames),
    text: 'an object of arrays of names',
  },
  types: {
    is: (v: unknown) => [v].flat().every((name) => typeNames.includes(name as string)),
    text: `one or more of ${typeNames.join(', ')}`,
  },
  list: { is: (v: unknown) => Array.isArray(v) && v.length > 0, text: 'an array of values' },
  any: { is: () => true, text: 'a value' },
} satisfies Record<ArgumentKind, { is: (value: unknown) => boolean; text: string }>

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every(isText)
}

function fail(path: string, why: string): never {
  throw new MayflyError(
    'INVALID',
    `Cannot use the output schema at "${path.slice(0, 200)}": ${why}`,
    {
      details: { path, why },
    },
  )
}
