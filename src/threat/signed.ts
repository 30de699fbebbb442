import { MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import type { Signed } from '../contract/signature.ts'
import type { CachedAnalysis, Verdict } from '../contract/verdict.ts'
import { sha256 } from '../lib/hash.ts'

/** Wraps the analyst: adds the signature result to the verdict, and skips refused code. */
export function analyseSigned(
  analyse: (job: Job) => Promise<CachedAnalysis>,
): (job: Job, signed: Signed) => Promise<CachedAnalysis> {
  return async (job, signed) => {
    if (signed.kind === 'refused')
      return { kind: 'verdict', cached: false, verdict: unparsedVerdict(job) }
    const analysis = await analyse(job)
    if (signed.kind === 'unsigned') return analysis
    return { ...analysis, verdict: { ...analysis.verdict, signatureValid: true } }
  }
}

/** The refusal as an error, for requests that only analyse. */
export function refusalOf({ error }: Extract<Signed, { kind: 'refused' }>): MayflyError {
  return new MayflyError(error.code, error.message, { details: error.details })
}

/** Placeholder verdict for unparsed code: only its requested fields are known. */
export function unparsedVerdict({ asked }: Pick<Job, 'asked'>): Verdict {
  const { code, language = 'js', entry } = asked
  return {
    threatScore: 0,
    risk: 0,
    severity: 'low',
    findings: [],
    capabilities: [],
    complexityScore: 0,
    behaviorScore: 0,
    signatureValid: false,
    judged: false,
    language,
    entry,
    digest: `sha256:${sha256(code)}`,
  }
}
