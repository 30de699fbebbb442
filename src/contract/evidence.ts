import * as z from 'zod'

/**
 * A line of the record. Two for each job: `admitted` before the wall gets the code, `ended` with the outcome.
 * Lines hold salted commitments, never bodies or secrets. `hash` is one step of the chain (`lib/hash-chain.ts`)
 * from `previous` over the line's digest, the SHA-256 of the canonical JSON of everything but `previous` and
 * `hash`: no line can be edited, removed or moved without the chain breaking, and whoever is given digests alone
 * can chain them without seeing a line.
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

/** What is signed: one text for each (key, seq, head, at), with a prefix that no other signature here has. */
export function checkpointStatement(parts: Omit<Checkpoint, 'format' | 'signature'>): string {
  return `mayfly checkpoint 1\n${parts.key}\n${parts.seq}\n${parts.head}\n${parts.at}\n`
}

/** What an audit found. `firstBad` is the sequence number of the first line that is wrong, with why. */
export interface Audit {
  readonly ok: boolean
  readonly lines: number
  readonly checkpoints: number
  /** Lines after the last signed checkpoint. */
  readonly unsigned: number
  readonly firstBad?: { readonly seq: number; readonly why: string }
}
