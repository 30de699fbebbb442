import * as z from 'zod'

export const outcomeError = z
  .object({
    code: z.string(),
    name: z.string().optional(),
    message: z.string(),
    /** Positions refer to the user's source. */
    stack: z.string().optional(),
    details: z.unknown().optional(),
  })
  .readonly()

export type OutcomeError = z.infer<typeof outcomeError>
