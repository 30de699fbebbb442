import * as z from 'zod'
import { tierNames, type TierName } from './tier.ts'

/** A layer that the wall lacks on this machine. */
export const missingLayer = z
  .object({
    layer: z.string(),
    why: z.string().describe('and what that costs'),
    fix: z.string().optional().describe('what can be done about it'),
  })
  .readonly()

/** Line of `GET /v1/providers`. */
export const providerRow = z
  .object({
    name: z.string(),
    tier: z.enum(tierNames as [TierName, ...TierName[]]),
    strength: z.number().int().describe('what its probe proved; 0 where it is not available'),
    available: z.boolean(),
    reason: z.string().optional(),
    fix: z.string().optional(),
    layers: z
      .array(z.string())
      .readonly()
      .describe('what holds it up here: namespaces, seccomp, landlock, memory cgroup, sentinel …'),
    versions: z
      .object({ landlock: z.number().int().optional(), cgroups: z.number().int().optional() })
      .readonly()
      .optional()
      .describe('of those layers that have one'),
    missing: z.array(missingLayer).readonly().describe('what this machine does not give it'),
    controls: z.array(z.string()).readonly().describe('what it enforces'),
    tightens: z.array(z.string()).readonly().describe('what it can close while a job runs'),
    can: z.array(z.string()).readonly(),
    features: z
      .array(z.string())
      .readonly()
      .optional()
      .describe('what its engine knows beside the core: simd …'),
    module: z
      .string()
      .optional()
      .describe('file of the provider module that it comes from, unless it is built in'),
    code: z.string().optional().describe('why it is not available, for programs'),
  })
  .readonly()

/** Line of `GET /v1/threats`, and the data of one frame of its stream. */
export const threatRow = z
  .object({
    seq: z.number().int().describe('rises; where a reader left off'),
    at: z.iso.datetime(),
    kind: z.enum(['audited', 'blocked', 'unparsed', 'denied', 'anomaly', 'refused']),
    run: z.string().nullable(),
    tenant: z.string().nullable(),
    trust: z.enum(['host', 'wall', 'guest']).describe('who claims it'),
    threatScore: z.number().optional(),
    risk: z.number().optional(),
    behaviorScore: z.number().optional().describe('of its run, with this anomaly'),
    patterns: z.array(z.string()).readonly().optional(),
    code: z.string().optional(),
    capability: z.string().optional(),
  })
  .readonly()

export type MissingLayer = z.infer<typeof missingLayer>
export type ProviderRow = z.infer<typeof providerRow>
export type ThreatRow = z.infer<typeof threatRow>
