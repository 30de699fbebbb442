import * as z from 'zod'
import { executionRow } from '../history/history.ts'
import { jobRequest, language } from '../contract/job.ts'
import { tierNames, type TierName } from '../contract/tier.ts'

/** The body of `POST /active-content`. The token may be left out by who brings an API key instead. */
export const activeContent = z
  .strictObject({
    content: jobRequest.unwrap().shape.code.unwrap(),
    sessionToken: z.string().max(4096).optional(),
    language: language.optional(),
    input: z.unknown().optional(),
  })
  .readonly()

/** The answer of `GET /v1/executions`. */
export const executionList = z
  .object({
    items: z.array(executionRow).readonly(),
    next: z.string().nullable().describe('the cursor of the next page; null on the last'),
  })
  .readonly()

/** An execution before its end. */
export const pending = z
  .object({ id: z.string(), status: z.enum(['queued', 'running']) })
  .readonly()

/** One line of `GET /v1/providers`. */
export const providerRow = z
  .object({
    name: z.string(),
    tier: z.enum(tierNames as [TierName, ...TierName[]]),
    strength: z.number().int().describe('what its probe proved; 0 where it is not available'),
    available: z.boolean(),
    reason: z.string().optional(),
    fix: z.string().optional(),
    controls: z.array(z.string()).readonly().describe('what it enforces'),
    tightens: z.array(z.string()).readonly().describe('what it can close while a job runs'),
    can: z.array(z.string()).readonly(),
    features: z
      .array(z.string())
      .readonly()
      .optional()
      .describe('what its engine knows beside the core: simd …'),
  })
  .readonly()

/** One line of `GET /v1/threats`, and the data of one frame of its stream. */
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
    patterns: z.array(z.string()).readonly().optional(),
    code: z.string().optional(),
    capability: z.string().optional(),
  })
  .readonly()

export const versionBody = z
  .object({ name: z.literal('mayfly'), version: z.string(), api: z.literal('v1') })
  .readonly()
export const liveBody = z.object({ status: z.literal('alive') }).readonly()
export const readyBody = z
  .object({ status: z.literal('ready'), walls: z.array(z.string()).readonly() })
  .readonly()

export type ProviderRow = z.infer<typeof providerRow>
