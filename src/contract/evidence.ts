import * as z from 'zod'
import type { Operator } from './live.ts'

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

/** A part of a capture as it is known outside: the name has the name of its capture before it. */
export const capturedPart = z
  .object({
    name: z.string().regex(/^capture-\d{1,16}\/\w[\w.-]{0,63}$/),
    size: z.number().int().min(0).describe('bytes'),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  })
  .readonly()

/** Who wanted it: whoever asked for the job, an operator, or the reaction to an anomaly. */
export const capturedFor = z.enum(['asked', 'operator', 'anomaly'])

/** What a wall had to show of a run, where it is kept. */
export const keptCapture = z
  .object({
    name: z.string(),
    run: z.string().describe('the execution'),
    tenant: z.string(),
    at: z.number().int().describe('milliseconds since 1970'),
    because: capturedFor.describe('who wanted it'),
    kind: z.enum(['none', 'memory', 'memory+disk']).describe('how deep its wall could look'),
    why: z.string().optional().describe('why not all of it is there'),
    parts: z.array(capturedPart).readonly(),
  })
  .readonly()

/** `GET /v1/evidence/{id}`: the captures of a run, the earliest first. */
export const evidenceBody = z
  .object({ id: z.string(), captures: z.array(keptCapture).readonly() })
  .readonly()

export type CapturedFor = z.infer<typeof capturedFor>
export type CapturedPart = z.infer<typeof capturedPart>
export type KeptCapture = z.infer<typeof keptCapture>

/**
 * What is kept of runs beside the record, for whoever may see it. A run of another tenant is like one that never was.
 * Each throws MayflyError NOT_FOUND where there is nothing, and STATE where it cannot be read.
 */
export interface Evidence {
  of(run: string, by: Operator): readonly KeptCapture[]
  /** The bytes of a part, piece by piece: each is told only if it is as it was kept. Who asked is in the record first. */
  read(run: string, part: string, by: Operator): ReadPart
}

export interface ReadPart {
  readonly part: CapturedPart
  readonly bytes: AsyncGenerator<Uint8Array>
}
