import * as z from 'zod'
import { controlsAsked } from './config.ts'
import { controlNames, controlsSchema, type Controls } from './controls.ts'
import { timelineEntry } from './event.ts'
import { tierNames, type TierName } from './tier.ts'

/** Line of `GET /v1/sandboxes`: a sandbox with a running job. */
export const liveRow = z
  .object({
    id: z.string().describe('id of the execution'),
    sandbox: z.string(),
    tenant: z.string(),
    tier: z.enum(tierNames as [TierName, ...TierName[]]),
    provider: z.string(),
    phase: z.string().nullable().describe('null until user code was released'),
    age: z.number().describe('milliseconds since the release, frozen time included'),
    frozen: z.boolean(),
    behaviorScore: z.number().min(0).max(100).describe('score of its anomalies so far'),
    counts: z.record(z.string(), z.number().int()).describe('number of timeline entries by event'),
  })
  .readonly()

/** `GET /v1/sandboxes/{id}`. */
export const liveSandbox = liveRow
  .unwrap()
  .extend({
    image: z.string(),
    controls: controlsSchema.describe('controls in force, as read back from the wall'),
    tightens: z.array(z.enum(controlNames as [string, ...string[]])).readonly(),
    can: z.array(z.string()).readonly(),
    zones: z
      .array(z.object({ zone: z.string(), phase: z.string().nullable(), controls: controlsSchema }))
      .readonly()
      .describe('zones of the execution, without main'),
    tightened: z.array(timelineEntry).readonly().describe('last reductions of rights'),
  })
  .readonly()

/** The body of `POST /v1/sandboxes/{id}/tighten`: omitted controls stay unchanged. */
export const tightenAsked = z
  .strictObject({
    controls: controlsAsked.refine(
      (given) => Object.keys(given).length > 0,
      'expected at least one control',
    ),
    zone: z.string().min(1).max(64).optional().describe('default: main, the whole execution'),
  })
  .readonly()

/** Result of tightening. */
export const tightenedBody = z
  .object({
    id: z.string(),
    zone: z.string(),
    held: z.boolean().describe('whether the wall enforces it; if false, the phase was ended'),
    took: z.number().describe('milliseconds'),
    controls: controlsSchema.describe('controls in force afterwards'),
  })
  .readonly()

export const frozenBody = z
  .object({ id: z.string(), frozen: z.boolean(), took: z.number() })
  .readonly()

export const capturedBody = z
  .object({
    id: z.string(),
    kind: z
      .enum(['none', 'memory', 'memory+disk'])
      .describe('kind of capture that the wall can make'),
    why: z.string().optional().describe('reason why there is none, or why it is incomplete'),
    parts: z
      .array(
        z.object({
          name: z.string().describe('name under which it is stored with this run'),
          size: z.number().int(),
          sha256: z.string().optional(),
        }),
      )
      .readonly(),
    took: z.number(),
  })
  .readonly()

export const terminatedBody = z
  .object({ id: z.string(), status: z.string().describe('status of the end'), took: z.number() })
  .readonly()

export const zoneEndedBody = z
  .object({ id: z.string(), zone: z.string(), took: z.number() })
  .readonly()

export type LiveRow = z.infer<typeof liveRow>
export type LiveSandbox = z.infer<typeof liveSandbox>
export type Tightened = z.infer<typeof tightenedBody>
export type Frozen = z.infer<typeof frozenBody>
export type Captured = z.infer<typeof capturedBody>
export type Terminated = z.infer<typeof terminatedBody>
export type ZoneEnded = z.infer<typeof zoneEndedBody>

/** External actor. Without a tenant, it acts on the lives of all tenants. */
export interface Operator {
  readonly principal: string
  readonly tenant: string | undefined
}

/**
 * Running lives and the operations on them, all of which only take away. Each throws MayflyError:
 * NOT_FOUND for an ended, unknown or foreign life; CONFLICT for an operation that the wall does not
 * support or that would loosen; RATE_LIMITED when too many wait; STATE when the operation could not
 * be recorded.
 */
export interface Operations {
  list(by: Operator): readonly LiveRow[]
  find(id: string, by: Operator): LiveSandbox
  tighten(
    id: string,
    asked: { readonly controls: Partial<Controls>; readonly zone?: string | undefined },
    by: Operator,
  ): Promise<Tightened>
  freeze(id: string, by: Operator): Promise<Frozen>
  thaw(id: string, by: Operator): Promise<Frozen>
  capture(id: string, by: Operator): Promise<Captured>
  /** Ends one zone and lets the others run; the main zone ends everything. Idempotent. */
  endZone(id: string, zone: string, by: Operator): Promise<ZoneEnded>
  /** Resolves when its user code has ended. */
  terminate(id: string, by: Operator): Promise<Terminated>
}
