import * as z from 'zod'
import type { Operator } from './live.ts'

/**
 * A line of the record. Each job has two: `admitted` before the wall gets the code, `ended` with
 * the outcome. Lines hold salted commitments, never bodies or secrets, and of the code its SHA-256 as
 * well, by which a holder of a program finds its runs. `hash` is one step of the
 * chain (`lib/hash-chain.ts`) from `previous` over the line's digest, the SHA-256 of the canonical
 * JSON of every field but `previous` and `hash`: editing, removing or moving a line breaks the
 * chain, and the warden can extend it from digests alone, without reading lines.
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
    /** In plaintext, so that the log is readable without keys. */
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

/** Answer of `GET /v1/audit`, newest line first. */
export const auditPage = z
  .object({
    items: z.array(lineSchema).readonly(),
    next: z.string().nullable().describe('cursor of the next page; null once the log is read'),
  })
  .readonly()

export type AuditPage = z.infer<typeof auditPage>
export type RecordLineKind = z.infer<typeof lineKind>
export type RecordLine = z.infer<typeof lineSchema>
export type Checkpoint = z.infer<typeof checkpointSchema>

/** Signed text, unique for each (key, seq, head, at); no other signature here shares its prefix. */
export function checkpointStatement(parts: Omit<Checkpoint, 'format' | 'signature'>): string {
  return `mayfly checkpoint 1\n${parts.key}\n${parts.seq}\n${parts.head}\n${parts.at}\n`
}

/**
 * Result of an audit. `firstBad` is the sequence number of the first invalid line, with the reason.
 */
export interface Audit {
  readonly ok: boolean
  readonly lines: number
  readonly checkpoints: number
  /** Lines after the last signed checkpoint. */
  readonly unsigned: number
  readonly firstBad?: { readonly seq: number; readonly why: string }
}

/** A part of a capture, named with its capture's name as prefix. */
export const capturedPart = z
  .object({
    name: z.string().regex(/^capture-\d{1,16}\/\w[\w.-]{0,63}$/),
    size: z.number().int().min(0).describe('bytes'),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    trust: z.literal('guest').optional().describe('guest: reported by the guest, untrusted'),
  })
  .readonly()

/** Origin of the request: the job itself, an operator, or the reaction to an anomaly. */
export const capturedFor = z.enum(['asked', 'operator', 'anomaly'])

/** A stored capture of a run. */
export const storedCapture = z
  .object({
    name: z.string(),
    run: z.string().describe('id of the execution'),
    tenant: z.string(),
    at: z.number().int().describe('milliseconds since 1970'),
    because: capturedFor.describe('cause of the capture'),
    kind: z
      .enum(['none', 'memory', 'memory+disk'])
      .describe('kind of capture that the wall could make'),
    why: z.string().optional().describe('reason why the capture is incomplete'),
    base: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional()
      .describe("SHA-256 of the template's memory, to which the captured memory is a difference"),
    parts: z.array(capturedPart).readonly(),
  })
  .readonly()

/** `GET /v1/evidence/{id}`: the captures of a run, the earliest first. */
export const evidenceBody = z
  .object({ id: z.string(), captures: z.array(storedCapture).readonly() })
  .readonly()

export type CapturedFor = z.infer<typeof capturedFor>
export type CapturedPart = z.infer<typeof capturedPart>
export type StoredCapture = z.infer<typeof storedCapture>

/**
 * Stored captures and bodies of runs, for authorised readers. A run of another tenant looks
 * nonexistent. Methods throw MayflyError NOT_FOUND for a missing item, and STATE for an unreadable
 * one.
 */
export interface Evidence {
  of(run: string, by: Operator): readonly StoredCapture[]
  /**
   * Bytes of a part, in chunks, each verified before it is yielded. The reader is recorded first.
   */
  read(run: string, part: string, by: Operator): PartReader
}

export interface PartReader {
  readonly part: CapturedPart
  readonly bytes: AsyncGenerator<Uint8Array>
}
