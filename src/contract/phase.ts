import * as z from 'zod'
import { controlsSchema } from './controls.ts'

/** Phases over a life, each no looser than the one before it; after the last one the sandbox is terminated. */
export const phaseSchema = z
  .object({
    name: z.string().min(1).max(64),
    for: z.number().int().min(1).describe('milliseconds'),
    controls: controlsSchema,
  })
  .readonly()

export const reaction = z.enum(['record', 'advance', 'tighten', 'freeze', 'capture', 'terminate'])

export const scheduleSchema = z
  .object({
    name: z.string(),
    phases: z.array(phaseSchema).min(1).max(64).readonly(),
    onAnomaly: z.object({ low: reaction, medium: reaction, high: reaction }).readonly(),
    /** What is left of the remaining phases after an advance, as a share of their length. */
    shorten: z.number().min(0).max(1),
  })
  .readonly()

export type Phase = z.infer<typeof phaseSchema>
export type Schedule = z.infer<typeof scheduleSchema>
export type Reaction = z.infer<typeof reaction>
