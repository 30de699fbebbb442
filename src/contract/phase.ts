import * as z from 'zod'
import { controlsSchema } from './controls.ts'

export const conditionCharactersMax = 1000
/** Zone of the whole execution, and of events that belong to no other zone. */
export const mainZone = 'main'

const condition = z.string().min(1).max(conditionCharactersMax)

/**
 * Phases of a life, each no looser than the one before; after the last one the sandbox is
 * terminated.
 */
export const phaseSchema = z
  .object({
    name: z.string().min(1).max(64),
    for: z.number().int().min(1).describe('milliseconds'),
    controls: controlsSchema,
    /** CEL conditions that end the phase, or the whole life, as soon as they hold. */
    advanceIf: condition.optional(),
    terminateIf: condition.optional(),
  })
  .readonly()

/** Milliseconds of all phases together. */
export function lengthOf(phases: readonly { readonly for: number }[]): number {
  return phases.reduce((sum, phase) => sum + phase.for, 0)
}

export const reaction = z.enum(['record', 'advance', 'tighten', 'freeze', 'capture', 'terminate'])

const courseShape = {
  phases: z.array(phaseSchema).min(1).max(64).readonly(),
  onAnomaly: z.object({ low: reaction, medium: reaction, high: reaction }).readonly(),
  /** Share of their length that the remaining phases keep after an advance. */
  shorten: z.number().min(0).max(1),
  /** `cpu`: the phase also ends after that much CPU time in it. */
  clock: z.literal('cpu').optional(),
} as const

export const zoneScheduleSchema = z
  .object({
    ...courseShape,
    /** Executables that start a zone of this kind: names or absolute paths; `*` matches anything. */
    programs: z.array(z.string().max(256)).min(1).max(16).readonly().optional(),
    /** Functions of JavaScript that are a zone of this kind. */
    functions: z.array(z.string().max(64)).min(1).max(16).readonly().optional(),
  })
  .readonly()

/** Limits of the channels that it matches; `*` matches any zone. */
export const channelRuleSchema = z
  .object({
    from: z.string().max(64),
    to: z.string().max(64),
    permit: z.boolean(),
    calls: z.number().int().min(1).optional(),
    callsPerSecond: z.number().positive().optional(),
    bytes: z.number().int().min(0).optional(),
    for: z.number().int().min(1).optional().describe('milliseconds after the start of the run'),
  })
  .readonly()

export const scheduleSchema = z
  .object({
    name: z.string(),
    ...courseShape,
    /**
     * Schedules by kind of zone, timed from the start of the zone. A zone of any other kind follows
     * the phases of the whole execution.
     */
    zones: z.record(z.string(), zoneScheduleSchema).readonly().optional(),
    channels: z.array(channelRuleSchema).max(64).readonly().optional(),
    /** Plants honeytokens in this life, regardless of the configuration. */
    honeytokens: z.literal(true).optional(),
    /** Reports opened files in this life, regardless of its reactions. */
    observeFiles: z.literal(true).optional(),
  })
  .readonly()

export type Phase = z.infer<typeof phaseSchema>
export type Schedule = z.infer<typeof scheduleSchema>
export type ChannelRule = z.infer<typeof channelRuleSchema>
export type ZoneSchedule = z.infer<typeof zoneScheduleSchema>
export type Reaction = z.infer<typeof reaction>
