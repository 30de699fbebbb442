import * as z from 'zod'
import { controlsSchema } from './controls.ts'

export const conditionCharactersMax = 1000
/** Name of the zone that is the whole execution: events that belong to no other zone are in it. */
export const mainZone = 'main'

const condition = z.string().min(1).max(conditionCharactersMax)

/** Phases over a life, each no looser than the one before it; after the last one the sandbox is terminated. */
export const phaseSchema = z
  .object({
    name: z.string().min(1).max(64),
    for: z.number().int().min(1).describe('milliseconds'),
    controls: controlsSchema,
    /** Conditions in CEL: the phase is over, or the whole life is, as soon as they hold. */
    advanceIf: condition.optional(),
    terminateIf: condition.optional(),
  })
  .readonly()

export const reaction = z.enum(['record', 'advance', 'tighten', 'freeze', 'capture', 'terminate'])

const courseShape = {
  phases: z.array(phaseSchema).min(1).max(64).readonly(),
  onAnomaly: z.object({ low: reaction, medium: reaction, high: reaction }).readonly(),
  /** What is left of the remaining phases after an advance, as a share of their length. */
  shorten: z.number().min(0).max(1),
  /** `cpu`: a phase is also over when the guest has used that much processor time in it. */
  clock: z.literal('cpu').optional(),
} as const

export const zoneScheduleSchema = z
  .object({
    ...courseShape,
    /** A zone of programs: begins where one of these is executed. Names, or absolute paths; `*` is anything. */
    programs: z.array(z.string().max(256)).min(1).max(16).readonly().optional(),
  })
  .readonly()

export const scheduleSchema = z
  .object({
    name: z.string(),
    ...courseShape,
    /** By kind of zone, counted from its beginning. A zone of another kind lives as the whole does. */
    zones: z.record(z.string(), zoneScheduleSchema).readonly().optional(),
    /** False credentials lie in this life, whatever the configuration says of others. */
    honeytokens: z.literal(true).optional(),
  })
  .readonly()

export type Phase = z.infer<typeof phaseSchema>
export type Schedule = z.infer<typeof scheduleSchema>
export type ZoneSchedule = z.infer<typeof zoneScheduleSchema>
export type Reaction = z.infer<typeof reaction>
