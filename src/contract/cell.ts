import * as z from 'zod'

/**
 * Edits that turn a cell of `js` or `ts` into a script whose names last. Each has a range of the text that runs, in UTF-16
 * units; the wall has a text for each kind (`guest/cell/source.js`), so that a compromised parser adds no code of its own.
 */
export const cellEditKinds = [
  /** Keyword of a top-level `let` or `const`. */
  'lexical',
  /** Empty: end of a top-level `let` without a value. */
  'bare',
  /** Declaration of a top-level class. */
  'class',
  /** The same of an abstract one, which is no expression. */
  'abstract-class',
  /** Name that the cell declares; no edit by itself. */
  'name',
  /** Name of a top-level function of a cell that awaits. */
  'function',
  /** Keyword of a `var` of a cell that awaits. */
  'var',
  /** The same in the head of `for (var … of …)`. */
  'loop-var',
  /** Type of a variable of a cell that awaits, where its types are not erased. */
  'type',
  /** Import declaration. */
  'import',
  /** Expression whose value is the result, where the completion of a script is not. */
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
