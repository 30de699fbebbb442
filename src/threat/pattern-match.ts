import * as z from 'zod'
import { patternNames } from '../contract/verdict.ts'

export const position = z.number().int().min(1)

/** A pattern in a source: count and first position, before grants are known. Read from a parsing process. */
export const patternMatchSchema = z
  .strictObject({
    name: z.enum(patternNames),
    line: position,
    column: position,
    count: z.number().int().min(1),
    /** Position or subject, appended to the pattern's description. */
    detail: z.string().max(300).exactOptional(),
  })
  .readonly()
export type PatternMatch = z.infer<typeof patternMatchSchema>
