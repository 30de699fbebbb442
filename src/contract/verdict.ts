import * as z from 'zod'
import { entries, languages } from './job.ts'
import type { Split } from './zones.ts'

export const patternNames = [
  'VM_ESCAPE',
  'CRYPTOMINING',
  'CHILD_PROCESS',
  'PROCESS_ACCESS',
  'FILESYSTEM',
  'PROTOTYPE_POLLUTION',
  'EVAL',
  'BUFFER_OVERFLOW',
  'NETWORK',
  'REQUIRE',
  'IMPORT',
  'TIMING_ATTACK',
  'OBFUSCATION',
  'UNPARSED',
  'UNREAD_DEPENDENCY',
] as const
export type PatternName = (typeof patternNames)[number]

export const severity = z.enum(['low', 'medium', 'high', 'critical'])
export type Severity = z.infer<typeof severity>

/** The most that code without a pattern scores, from complexity and behaviour alone. */
export const plainScoreMax = 39

/** Lines and columns start at 1 and are those of the source as the user wrote it. */
export const findingSchema = z
  .object({
    name: z.enum(patternNames),
    severity,
    score: z.number().min(0).max(100),
    line: z.number().int().min(1),
    column: z.number().int().min(1),
    description: z.string().max(500),
    /** `need`: picks a wall that can hold it and never blocks; `threat`: counts in `risk` in full. */
    kind: z.enum(['need', 'threat']),
    /** Why it is a need, or why it counts. */
    because: z.string().max(300),
    /** How often the pattern occurs; the position is that of the first. */
    count: z.number().int().min(1),
  })
  .readonly()

export const verdictSchema = z
  .object({
    threatScore: z.number().min(0).max(100),
    risk: z.number().min(0).max(100),
    /** Of `risk`: below 40 low, below 70 medium, below 90 high, else critical. */
    severity,
    findings: z.array(findingSchema).max(200).readonly(),
    /** Names of what the code seems to reach for: `network`, `files`, `process`, `eval`, … sorted. */
    capabilities: z.array(z.string()).readonly(),
    complexityScore: z.number().min(0),
    behaviorScore: z.number().min(0),
    signatureValid: z.boolean(),
    /** What the source is, decided by parsing it: never `auto`. */
    language: z.enum(languages),
    entry: z.enum(entries),
    /** Digest of source, language and entry asked: the key of the verdict cache, with the tenant. */
    digest: z.string(),
  })
  .readonly()

export type Finding = z.infer<typeof findingSchema>
export type Verdict = z.infer<typeof verdictSchema>

/** What analysis makes of a job: a verdict and what to run, or the place where the source does not parse. */
export type Analysis =
  | {
      readonly kind: 'verdict'
      readonly verdict: Verdict
      readonly javascript?: string
      /** It is run as TypeScript: the wall that runs it makes JavaScript of it. */
      readonly typed?: true
      /** Files of the job in TypeScript, as they are run in an isolate. */
      readonly erased?: readonly { readonly path: string; readonly javascript: string }[]
      /** How it can be taken apart, where that was asked for. */
      readonly split?: Split
    }
  | {
      readonly kind: 'syntax-error'
      readonly message: string
      readonly line: number
      readonly column: number
      readonly verdict: Verdict
    }

/** What is thought of code before it runs, from the least: the phase its life begins with may depend on it. */
export const trustLevels = ['suspect', 'plain', 'signed'] as const
export type Trust = (typeof trustLevels)[number]

/** Whoever signed it, what is found in it counts. */
export function trustOf({ risk, signatureValid }: Pick<Verdict, 'risk' | 'signatureValid'>): Trust {
  if (severityOf(risk) !== 'low') return 'suspect'
  return signatureValid ? 'signed' : 'plain'
}

/** Severity of a score from 0 to 100. */
export function severityOf(score: number): Severity {
  if (score < 40) return 'low'
  if (score < 70) return 'medium'
  return score < 90 ? 'high' : 'critical'
}
