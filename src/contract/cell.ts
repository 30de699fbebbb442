import * as z from 'zod'

/**
 * Edits that turn a cell of `js` or `ts` into a script whose top-level names stay defined for later cells. An edit is a kind
 * and a source range in UTF-16 units. The replacement text of each kind is in the wall (`guest/cell/source.js`), so that a
 * compromised parser cannot insert code.
 */
export const cellEditKinds = [
  /** Keyword of a top-level `let` or `const`. */
  'lexical',
  /** Empty: end of a top-level `let` without a value. */
  'bare',
  /** Declaration of a top-level class. */
  'class',
  /** Declaration of an abstract class, which TypeScript does not allow as an expression. */
  'abstract-class',
  /** Name that the cell declares; no edit by itself. */
  'name',
  /** Name of a top-level function of a cell that awaits. */
  'function',
  /** Keyword of a `var` of a cell that awaits. */
  'var',
  /** Keyword of a `var` in the head of `for (var … of …)`. */
  'loop-var',
  /** Type annotation of a variable in a cell that awaits, if types are not erased before. */
  'type',
  /** Import declaration. */
  'import',
  /** Expression whose value is the result, if the completion value of the script is not. */
  'result',
] as const
export type CellEditKind = (typeof cellEditKinds)[number]

const EDITS_MAX = 10_000
const offset = z.number().int().min(0)

export const cellPlanSchema = z
  .strictObject({
    /** Runs as an async function: the cell awaits, imports or returns at its top level. */
    awaits: z.boolean(),
    edits: z
      .array(z.tuple([z.enum(cellEditKinds), offset, offset]).readonly())
      .max(EDITS_MAX)
      .readonly(),
  })
  .readonly()

export type CellPlan = z.infer<typeof cellPlanSchema>
export type CellEdit = CellPlan['edits'][number]
