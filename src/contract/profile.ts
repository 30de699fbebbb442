import * as z from 'zod'
import { controlsSchema } from './controls.ts'
import { entries, languages } from './job.ts'
import { packageLayer } from './layer.ts'
import { scheduleSchema } from './phase.ts'
import { strengthOf, type TierName } from './tier.ts'

export const explained = z
  .object({ field: z.string(), value: z.unknown(), because: z.string() })
  .readonly()

/**
 * The full, serialisable description of a sandbox. Equal inputs give equal bytes: `digest` is the
 * hash of the canonical JSON of every field but `digest` and `explain`, and no field depends on the
 * time or the run.
 */
export const profileSchema = z
  .object({
    format: z.literal(1),
    provider: z.string(),
    tier: z.enum(Object.keys(strengthOf) as [TierName, ...TierName[]]),
    /** Lowest strength allowed; a job never falls below it. */
    floor: z.number().int().min(0).max(5),
    image: z.string(),
    language: z.enum(languages),
    entry: z.enum(entries),
    tenant: z.string(),
    capability: z.string().optional().describe('name of the called capability'),
    packages: z.array(packageLayer).readonly().optional().describe('layers of packages, read-only'),
    controls: controlsSchema,
    privateHosts: z
      .array(z.string())
      .readonly()
      .exactOptional()
      .describe('private addresses that the configuration grants'),
    schedule: scheduleSchema,
    /** Ceilings of one job, in bytes and milliseconds. */
    limits: z
      .object({
        timeout: z.number().int().min(1),
        memory: z.number().int().min(0),
        cpu: z.number().positive(),
        cpuTime: z.number().int().min(1).optional(),
        processes: z.number().int().min(1),
        disk: z.number().int().min(0),
        output: z.number().int().min(0),
        result: z.number().int().min(0),
        artifacts: z.number().int().min(0),
        instructions: z.number().int().min(1).optional(),
      })
      .readonly(),
    output: z
      .object({ schema: z.unknown().optional(), gate: z.enum(['stream', 'whole']) })
      .readonly(),
    capture: z.boolean(),
    digest: z.string(),
    explain: z.array(explained).readonly(),
  })
  .readonly()

export type Profile = z.infer<typeof profileSchema>
export type FieldReason = z.infer<typeof explained>
