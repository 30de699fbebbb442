import * as z from 'zod'

/**
 * A line of the record. Two for each job: `admitted` before the wall gets the code, `ended` with the outcome.
 * Lines hold salted commitments, never bodies or secrets. `hash` covers the canonical JSON of everything else in
 * the line and the hash before it, so that no line can be edited, removed or moved without the chain breaking.
 */
export const lineKind = z.enum(['genesis', 'admitted', 'ended', 'closed', 'event'])

export const lineSchema = z
  .object({
    format: z.literal(1),
    seq: z.number().int().min(1),
    at: z.number().int(),
    kind: lineKind,
    run: z.string().nullable(),
    tenant: z.string().nullable(),
    /** In clear, so that the log can be read without keys. */
    status: z.string().nullable(),
    body: z.record(z.string(), z.unknown()),
    previous: z.string(),
    hash: z.string(),
  })
  .readonly()

export const checkpointSchema = z
  .object({
    format: z.literal(1),
    seq: z.number().int().min(0),
    head: z.string(),
    at: z.number().int(),
    key: z.string(),
    signature: z.string(),
  })
  .readonly()

export type LineKind = z.infer<typeof lineKind>
export type Line = z.infer<typeof lineSchema>
export type Checkpoint = z.infer<typeof checkpointSchema>

/** What an audit found. `firstBad` is the sequence number of the first line that is wrong, with why. */
export interface Audit {
  readonly ok: boolean
  readonly lines: number
  readonly checkpoints: number
  /** Lines after the last signed checkpoint. */
  readonly unsigned: number
  readonly firstBad?: { readonly seq: number; readonly why: string }
}
