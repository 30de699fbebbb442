import * as z from 'zod'
import { tierNames, type TierName } from './tier.ts'

/** A layer that the wall lacks on this machine. */
export const missingLayer = z
  .object({
    layer: z.string(),
    why: z.string().describe('reason, and which protection is lost'),
    fix: z.string().optional().describe('action for the operator'),
  })
  .readonly()

/** Line of `GET /v1/providers`. */
export const providerRow = z
  .object({
    name: z.string(),
    tier: z.enum(tierNames as [TierName, ...TierName[]]),
    strength: z.number().int().describe('strength that its probe proved; 0 if it is not available'),
    available: z.boolean(),
    reason: z.string().optional(),
    fix: z.string().optional(),
    layers: z
      .array(z.string())
      .readonly()
      .describe(
        'layers in force on this machine: namespaces, seccomp, landlock, memory cgroup, sentinel …',
      ),
    versions: z
      .object({ landlock: z.number().int().optional(), cgroups: z.number().int().optional() })
      .readonly()
      .optional()
      .describe('versions of the layers that have one'),
    missing: z.array(missingLayer).readonly().describe('layers that this machine lacks'),
    controls: z.array(z.string()).readonly().describe('controls that it enforces'),
    tightens: z
      .array(z.string())
      .readonly()
      .describe('controls that it can tighten while a job runs'),
    can: z.array(z.string()).readonly(),
    features: z
      .array(z.string())
      .readonly()
      .optional()
      .describe('WebAssembly features of its engine beyond the core specification: simd …'),
    module: z
      .string()
      .optional()
      .describe('file of the provider module; absent for a built-in provider'),
    code: z.string().optional().describe('error code of why it is not available'),
  })
  .readonly()

/** Line of `GET /v1/threats`, and the data of one frame of its stream. */
export const threatRow = z
  .object({
    seq: z
      .number()
      .int()
      .describe('sequence number, rising; a reader continues after the last one it knows'),
    at: z.iso.datetime(),
    kind: z.enum(['audited', 'blocked', 'unparsed', 'denied', 'anomaly', 'refused']),
    run: z.string().nullable(),
    tenant: z.string().nullable(),
    trust: z.enum(['host', 'wall', 'guest']).describe('source of the claim'),
    threatScore: z.number().optional(),
    risk: z.number().optional(),
    judged: z.literal(false).optional().describe('present where nothing read the code'),
    behaviorScore: z
      .number()
      .optional()
      .describe('behavior score of the run, this anomaly included'),
    patterns: z.array(z.string()).readonly().optional(),
    code: z.string().optional(),
    capability: z.string().optional(),
  })
  .readonly()

export type MissingLayer = z.infer<typeof missingLayer>
export type ProviderRow = z.infer<typeof providerRow>
export type ThreatRow = z.infer<typeof threatRow>
