import * as z from 'zod'

/** Zones of one program at most, and functions that are told of. */
export const programZonesMax = 16
export const residualMax = 256
export const zoneNameMax = 64

/** What a zone does; schedules name these. */
export const zoneKinds = [
  'secrets',
  'network',
  'capability',
  'input-validation',
  'parsing',
  'compute',
] as const

/** From where to where in the source, in UTF-16 units: the end is not in it. */
const range = z.tuple([z.number().int().min(0), z.number().int().min(0)]).readonly()
const name = z
  .string()
  .max(zoneNameMax)
  .refine((name) => name !== 'main', 'expected another name than that of the whole')
  .regex(/^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u)
const line = z.number().int().min(1)

export const programZoneSchema = z
  .object({
    /** Of the function, which is that of its zone. */
    name,
    kind: z.enum(zoneKinds),
    line,
    endLine: line,
    /** The only outside things that it is seen to use: nothing else is granted to it. */
    network: z.boolean(),
    capabilities: z.union([z.literal('any'), z.array(z.string().max(200)).max(100).readonly()]),
    /** Other zones that it calls. */
    calls: z.array(name).max(programZonesMax).readonly(),
    /** Where it stands, and with it everything that it is made of. */
    cut: range,
    keep: z.array(range).max(512).readonly(),
  })
  .readonly()

/** A function that stays in the residual zone, `main`, and why. */
export const residualSchema = z
  .object({ name: z.string().max(200), line, endLine: line, why: z.string().max(300) })
  .readonly()

/** How a program can be taken apart without anybody noticing: found in its source, where nothing is marked. */
export const splitSchema = z
  .object({
    zones: z.array(programZoneSchema).max(programZonesMax).readonly(),
    residual: z.array(residualSchema).max(residualMax).readonly(),
    /** Zones that the residual zone calls. */
    calls: z.array(name).max(programZonesMax).readonly(),
  })
  .readonly()

export type ZoneKind = (typeof zoneKinds)[number]
export type ProgramZone = z.infer<typeof programZoneSchema>
export type Residual = z.infer<typeof residualSchema>
export type Split = z.infer<typeof splitSchema>
