import { type Clock, expiryDate } from '../contract/clock.ts'
import type { Config } from '../contract/config.ts'
import { MayflyError } from '../contract/error.ts'
import type { Emitter } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { Signed } from '../contract/signature.ts'
import type { Plan } from '../contract/pipeline.ts'
import type { CachedAnalysis, Verdict } from '../contract/verdict.ts'
import type { RiskAnalysis, TemporalZone, ZoneInstance } from '../contract/zones.ts'
import { codeOfLayers } from '../packages/layer-code.ts'
import { createAnalyst } from '../threat/analyse.ts'
import type { AnalysisClient } from '../threat/analysis-client.ts'
import type { ReplyCache } from '../threat/reply-cache.ts'
import { analyseSigned, refusalOf } from '../threat/signed.ts'
import { openSigners } from '../threat/signers.ts'
import { createVerifier } from '../threat/verify-job.ts'
import { limitToHistory } from '../zones/instance-history.ts'
import { riskAnalysis, planZones } from '../zones/plan-zones.ts'
import type { HeadStart } from './head-start.ts'
import type { Watching } from './watching.ts'

/** Risk areas of a job's code, and its planned zones. */
export interface Partition {
  readonly risk: RiskAnalysis
  readonly zones: readonly TemporalZone[]
}

export interface CodeAnalysis {
  verify(job: Job): Signed
  /** Adds the history of its instance, if the job names one. Never throws for a property of the code. */
  analyse(job: Job, signed: Signed): Promise<CachedAnalysis>
  /** Verifies and analyses. Throws MayflyError SIGNATURE_INVALID, SIGNER_UNKNOWN or SIGNATURE_REQUIRED before parsing. */
  judge(job: Job): Promise<CachedAnalysis>
  /** Throws as `judge` does, and INVALID for code that does not parse. */
  partition(job: Job, plan: (job: Job, verdict: Verdict) => Plan): Promise<Partition>
}

export interface CodeParts {
  readonly config: () => Config
  readonly clock: Clock
  readonly emitter: Emitter
  readonly client: AnalysisClient
  readonly ahead: Pick<HeadStart, 'warmed'>
  readonly watching: Watching
  readonly cachedReplies?: ReplyCache | undefined
  readonly layerFolder?: string | undefined
}

export function createCodeAnalysis(parts: CodeParts): CodeAnalysis {
  const { config, clock, emitter, client, watching } = parts
  const analyst = createAnalyst({
    ask: (...asked) => client.ask(...asked),
    emitter,
    zones: (job) => job.zones !== undefined || hasZones(config()),
    layers: codeOfLayers(() => parts.layerFolder),
    kept: parts.cachedReplies,
  })
  const verify = createVerifier({
    config,
    signers: openSigners(config().state),
    date: expiryDate(clock),
  })
  const analyseCode = analyseSigned(analyst)
  const analyse = async (job: Job, signed: Signed) =>
    withHistory(job, await analyseCode(job, signed), watching)
  async function judge(job: Job): Promise<CachedAnalysis> {
    const signed = verify(job)
    if (signed.kind === 'refused') throw refusalOf(signed)
    await parts.ahead.warmed()
    return await analyse(job, signed)
  }
  return {
    verify,
    analyse,
    judge,
    async partition(job, plan) {
      const analysis = await judge(job)
      if (analysis.kind === 'syntax-error')
        throw new MayflyError('INVALID', `Cannot read the code: ${analysis.message}`, {
          details: [{ path: 'code', ...analysis, verdict: undefined }],
        })
      const { profile } = plan(job, analysis.verdict)
      const risk = riskAnalysis(analysis)
      const past = analysis.instance && watching.pastOf(analysis.instance)
      return { risk, zones: planZones(profile, risk.split, { execution: job.id, past }) }
    },
  }
}

/** Limits the zones of an instance that ran before to the rights that they used then. */
function withHistory(job: Job, analysis: CachedAnalysis, watching: Watching): CachedAnalysis {
  const id = job.zones?.instance
  if (id === undefined || analysis.kind !== 'verdict') return analysis
  const instance: ZoneInstance = { tenant: job.tenant, id, code: analysis.verdict.digest }
  const past = watching.pastOf(instance)
  const { split } = analysis
  return { ...analysis, instance, ...(past && split && { split: limitToHistory(split, past) }) }
}

/** True if a schedule has zones of functions, not only of programs. */
function hasZones({ schedules }: Config): boolean {
  return Object.values(schedules).some(({ zones }) =>
    Object.values(zones).some(({ program }) => program === undefined),
  )
}
