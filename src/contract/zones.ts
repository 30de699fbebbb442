import * as z from 'zod'
import { controlsSchema } from './controls.ts'
import { programZonesMax, residualMax, zoneNameMax } from './zone-limits.ts'

/** Activity of a zone; schedules refer to these. */
export const zoneKinds = [
  'secrets',
  'exec',
  'network',
  'files',
  'capability',
  'input-validation',
  'parsing',
  'compute',
] as const

/** Kinds for which no wall has a zone: their functions stay in `main`. */
export const kindsWithoutZone: ReadonlySet<string> = new Set(['exec', 'files'])

/** Half-open source range, in UTF-16 units. */
const range = z.tuple([z.number().int().min(0), z.number().int().min(0)]).readonly()
/** Name of a function that may be a zone. */
export const zoneNameSchema = z
  .string()
  .max(zoneNameMax)
  .refine((name) => name !== 'main', 'expected another name than that of the whole')
  .regex(/^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u)
const name = zoneNameSchema
const line = z.number().int().min(1)

export const programZoneSchema = z
  .object({
    /** Name of its function, and of the zone. */
    name,
    kind: z.enum(zoneKinds),
    line,
    endLine: line,
    /** Access outside of itself that the analysis found: the zone is granted nothing else. */
    network: z.boolean(),
    capabilities: z.union([z.literal('any'), z.array(z.string().max(200)).max(100).readonly()]),
    /** Other zones that it calls. */
    calls: z.array(name).max(programZonesMax).readonly(),
    /** Source range of the function, and of everything it depends on. */
    cut: range,
    keep: z.array(range).max(512).readonly(),
  })
  .readonly()

/** A function that stays in the residual zone, `main`, and why. */
export const residualSchema = z
  .object({
    name: z.string().max(200),
    kind: z.enum(zoneKinds),
    line,
    endLine: line,
    why: z.string().max(300),
  })
  .readonly()

/** How to split a program without changing its behaviour; derived from unannotated source. */
export const splitSchema = z
  .object({
    zones: z.array(programZoneSchema).max(programZonesMax).readonly(),
    residual: z.array(residualSchema).max(residualMax).readonly(),
    /** Zones called by the residual zone. */
    calls: z.array(name).max(programZonesMax).readonly(),
  })
  .readonly()

/** A function that ran. */
export const ranFunctionSchema = z
  .object({
    zone: z.string().describe('zone in which it ran; `main` is the part outside of all zones'),
    name: z.string().max(zoneNameMax).describe('name of the function; empty for an anonymous one'),
    line,
    endLine: line,
    calls: z
      .number()
      .int()
      .min(1)
      .describe(
        'number of entries: an async function or a generator is entered again after each wait',
      ),
  })
  .readonly()

const heldBy = z.enum(['cgroup', 'watch', 'none'])

/** Start of a program zone. */
export const programZoneAbout = z
  .object({
    program: z.string().describe('path of the executed file'),
    parent: z.string().describe('zone of the process that executed it'),
    entered: z
      .enum(['asked', 'seen'])
      .describe(
        '`asked`: placed before the first instruction of the program; `seen`: detected and placed soon after it',
      ),
    enforced: z
      .object({ memory: heldBy, cpu: heldBy, processes: heldBy })
      .readonly()
      .describe('mechanism that enforces each of its own limits; `none` without limits of its own'),
    trust: z
      .literal('guest')
      .optional()
      .describe('present if the kernel of the guest enforces the limits, and reports the zone'),
  })
  .readonly()

/** A program zone, from start to end. */
export const programZoneMade = programZoneAbout
  .unwrap()
  .extend({
    zone: z.string(),
    kind: z.string(),
    began: z.number().describe('start, in milliseconds after the start of the execution'),
    phases: z.array(z.string()).readonly().describe('phases that it entered'),
    why: z.string().describe('status of the end'),
    peakBytes: z.number().optional().describe('peak memory in bytes, as far as sampled'),
  })
  .readonly()

/** Zones of a program besides `main`, and why its other functions stayed there. */
export const zonesMadeSchema = z
  .object({
    made: z
      .array(
        programZoneSchema
          .unwrap()
          .pick({ name: true, kind: true, line: true, endLine: true })
          .extend({
            calls: z.number().int().describe('number of calls of its function there'),
            callers: z
              .record(z.string(), z.number().int())
              .describe('number of these calls by calling zone'),
          }),
      )
      .readonly(),
    residual: z.array(residualSchema).readonly(),
    programs: z
      .array(programZoneMade)
      .readonly()
      .optional()
      .describe('with program zones in the schedule: programs that were executed'),
  })
  .readonly()

/** A source range that deserves a zone, or a review. */
export const riskAreaSchema = z
  .object({
    area: z.string().describe('kind of zone, or subject of a finding: files, process, eval …'),
    line,
    endLine: line,
    name: z.string().optional().describe('name of the function, if it is one'),
    because: z.string(),
  })
  .readonly()

/** Response of `analyzeCode`. */
export const riskAnalysisSchema = z
  .object({
    threatScore: z.number(),
    risk: z.number(),
    severity: z.string(),
    areas: z.array(riskAreaSchema).readonly(),
    split: splitSchema,
  })
  .readonly()

/** A planned zone of one execution. */
export const temporalZoneSchema = z
  .object({
    id: z.string().describe('name of the zone: that of its function, or main'),
    execution: z.string().nullable().describe('id of the execution; null before it runs'),
    kind: z.enum([...zoneKinds, 'main']),
    line: line.optional(),
    endLine: line.optional(),
    lifespan: z.number().describe('milliseconds; at most those of the execution'),
    phases: z
      .array(z.object({ name: z.string(), for: z.number(), controls: controlsSchema }).readonly())
      .readonly(),
    controls: controlsSchema.describe('controls at its start'),
    mayCall: z.array(z.string()).readonly().describe('zones that it may call over a channel'),
    because: z
      .string()
      .describe(
        'origin of the plan: schedule, or history (what earlier runs of this instance used)',
      ),
  })
  .readonly()

/** Source lines of a zone. */
export const zoneCodeSchema = z
  .object({
    zone: z.string(),
    code: z.string().describe('code at its original position; the rest is white space'),
  })
  .readonly()

export type TracedFunction = z.infer<typeof ranFunctionSchema>
export type ProgramZoneAbout = z.infer<typeof programZoneAbout>
export type ProgramZoneMade = z.infer<typeof programZoneMade>
export type RiskArea = z.infer<typeof riskAreaSchema>
export type RiskAnalysis = z.infer<typeof riskAnalysisSchema>
export type TemporalZone = z.infer<typeof temporalZoneSchema>
export type ZoneCode = z.infer<typeof zoneCodeSchema>
export type ZoneKind = (typeof zoneKinds)[number]
export type ProgramZone = z.infer<typeof programZoneSchema>
export type ZonesMade = z.infer<typeof zonesMadeSchema>
export type Residual = z.infer<typeof residualSchema>
export type ZoneSplit = z.infer<typeof splitSchema>

/** Capabilities that each zone of one instance called in earlier runs, by zone name. */
export type PastCalls = ReadonlyMap<string, ReadonlySet<string>>

/** An instance: the name that its owner gave it, and the digest of its code, so that changed code starts without a history. */
export interface ZoneInstance {
  readonly tenant: string
  readonly id: string
  readonly code: string
}
