import * as z from 'zod'
import type { CellPlan } from './cell.ts'
import { entries, languages } from './job.ts'
import type { ZoneSplit, ZoneInstance } from './zones.ts'

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

/** Maximum score of code without a pattern, from complexity and behaviour alone. */
export const plainScoreMax = 39

/** Lines and columns start at 1 and refer to the user's original source. */
export const findingSchema = z
  .object({
    name: z.enum(patternNames),
    severity,
    score: z.number().min(0).max(100),
    line: z.number().int().min(1),
    column: z.number().int().min(1),
    description: z.string().max(500),
    /** `need`: selects a wall that can contain it, never blocks; `threat`: counts fully in `risk`. */
    kind: z.enum(['need', 'threat']),
    /** Reason why it is a need, or why it counts. */
    because: z.string().max(300),
    /** Number of occurrences; the position is that of the first. */
    count: z.number().int().min(1),
  })
  .readonly()

export const verdictSchema = z
  .object({
    threatScore: z.number().min(0).max(100),
    risk: z.number().min(0).max(100),
    /** Severity of `risk`: below 40 low, below 70 medium, below 90 high, else critical. */
    severity,
    findings: z.array(findingSchema).max(200).readonly(),
    /** Sorted names of what the code seems to use: `network`, `files`, `process`, `eval` … */
    capabilities: z.array(z.string()).readonly(),
    complexityScore: z.number().min(0),
    behaviorScore: z.number().min(0),
    signatureValid: z.boolean(),
    /** False if nothing read the code, so that a low score is no judgement; then `risk` only chooses among the walls of its language. */
    judged: z.boolean(),
    /** Decided by parsing; never `auto`. */
    language: z.enum(languages),
    entry: z.enum(entries),
    /**
     * Digest of source, language and requested entry: key of the verdict cache, together with the
     * tenant.
     */
    digest: z.string(),
  })
  .readonly()

export type Finding = z.infer<typeof findingSchema>
export type Verdict = z.infer<typeof verdictSchema>

/** Result of an analysis: a verdict and the code to run, or the position of a syntax error. */
export type Analysis =
  | {
      readonly kind: 'verdict'
      readonly verdict: Verdict
      readonly javascript?: string
      /** The code is TypeScript, which the wall transpiles. */
      readonly typed?: true
      /** TypeScript files of the job, as JavaScript for an isolate. */
      readonly erased?: readonly { readonly path: string; readonly javascript: string }[]
      /** Zone split, if requested. */
      readonly split?: ZoneSplit
      /** Edits that keep the names of a cell for later cells. */
      readonly cell?: CellPlan
      /** Fault of a WebAssembly module, which fails at each run. */
      readonly badModule?: { readonly message: string; readonly offset: number }
      /** Instance whose history narrows the split, and learns from this run. */
      readonly instance?: ZoneInstance
    }
  | {
      readonly kind: 'syntax-error'
      readonly message: string
      readonly line: number
      readonly column: number
      readonly verdict: Verdict
    }

/** `cached`: served from the verdict cache. */
export type CachedAnalysis = Analysis & { readonly cached: boolean }

/** Trust in code before it runs, lowest first: the initial phase of its life may depend on it. */
export const trustLevels = ['suspect', 'plain', 'signed'] as const
export type CodeTrust = (typeof trustLevels)[number]

/** Findings count even in signed code. */
export function trustOf({
  risk,
  signatureValid,
}: Pick<Verdict, 'risk' | 'signatureValid'>): CodeTrust {
  if (severityOf(risk) !== 'low') return 'suspect'
  return signatureValid ? 'signed' : 'plain'
}

/** Meaning of scores and kinds, for a reader of a report. */
export const scoreLegend = {
  threat: 'threat, of 100: what the code could do if no sandbox held it',
  risk: 'risk, of 100: what counts against it in a sandbox, which it selects',
  kinds: 'need: its sandbox restricts that, so it is not in the risk; threat: it is',
} as const

/** Risk that is reported of code that nothing read: the least of a medium one. */
const unjudgedRisk = 40

/**
 * Scores of a verdict as users see them: code that nothing read is no low risk. A WebAssembly module keeps its own, since it
 * reaches nothing but its imports.
 */
export function shownScores({
  threatScore,
  risk,
  judged,
  language,
}: Pick<Verdict, 'threatScore' | 'risk' | 'judged' | 'language'>) {
  const shown = judged || language === 'wasm' ? risk : Math.max(risk, unjudgedRisk)
  return { threatScore, risk: shown, severity: severityOf(shown), judged }
}

/** Severity of a score from 0 to 100. */
export function severityOf(score: number): Severity {
  if (score < 40) return 'low'
  if (score < 70) return 'medium'
  return score < 90 ? 'high' : 'critical'
}
