import * as z from 'zod'
import { cellPlanSchema } from '../contract/cell.ts'
import { entries, languages } from '../contract/job.ts'
import { patternNames } from '../contract/verdict.ts'
import { splitSchema } from '../contract/zones.ts'
import { patternMatchSchema, position } from './pattern-match.ts'

/** A TypeScript file, and its code without types. */
const erasedFile = z.strictObject({ path: z.string(), javascript: z.string() }).readonly()

/** Facts about a source: plain data, before scores and grants. Read from the untrusted process. */
export const inspectionSchema = z
  .strictObject({
    language: z.enum(languages),
    entry: z.enum(entries),
    found: z.array(patternMatchSchema).max(patternNames.length).readonly(),
    complexityScore: z.number().min(0),
    behaviorScore: z.number().min(0).max(100),
    /** Code to run instead of the source, if different: types erased, positions kept. */
    javascript: z.string().exactOptional(),
    /** The types cannot be erased: the wall that runs it transpiles it. */
    typed: z.literal(true).exactOptional(),
    /** The same for the job's files, if erasable and meant for an isolate. */
    erased: z.array(erasedFile).max(2000).readonly().exactOptional(),
    /** Zone split of the code, if requested. */
    split: splitSchema.exactOptional(),
    /** Edits that turn a cell into a script. */
    cell: cellPlanSchema.exactOptional(),
    /** Fault of a WebAssembly module, which a run reports by its wall. */
    badModule: z
      .strictObject({ message: z.string().max(500), offset: z.number().int().min(0) })
      .readonly()
      .exactOptional(),
    /** Position of a syntax error; then nothing else was analysed. */
    syntaxError: z
      .strictObject({ message: z.string().max(500), line: position, column: position })
      .readonly()
      .exactOptional(),
  })
  .readonly()

export type ErasedFile = z.infer<typeof erasedFile>
export type Inspection = z.infer<typeof inspectionSchema>
