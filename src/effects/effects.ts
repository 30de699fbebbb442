import type { Clock } from '../contract/clock.ts'
import type { Effect, EffectRegistered, EffectRequest, EffectRow } from '../contract/effect.ts'
import { MayflyError } from '../contract/error.ts'
import type { Job } from '../contract/job.ts'
import type { Plan } from '../contract/pipeline.ts'
import { threatChanges } from '../contract/threat-changes.ts'
import type { Analysis, Verdict } from '../contract/verdict.ts'
import { sha256 } from '../lib/hash.ts'
import { decideRegistration, type Decision } from './decide.ts'
import type { EffectStore } from './store.ts'

export interface EffectsParts {
  /** Opened on first use. */
  readonly store: () => EffectStore
  readonly clock: Clock
  readonly analyse: (job: Job) => Promise<Analysis>
  /** Plan of a run, for the effective limits. */
  readonly plan: (job: Job, verdict: Verdict) => Plan
  /** Appends the audit line. Throws MayflyError STATE on failure. */
  readonly audit: (who: Pick<Job, 'tenant' | 'principal'>, facts: EffectAudit) => void
}

/** Audit facts of code that scores more than 40. */
export interface EffectAudit {
  readonly effectId: string
  readonly codeDigest: string
  readonly threatScore: number
  readonly severity: string
  readonly patterns: readonly string[]
  readonly blocked: boolean
}

export interface Effects {
  /**
   * Analyses code and stores it under its name; `job` describes a first run that never starts. Throws MayflyError
   * INVALID for a syntax error, THREAT_DETECTED, CONFLICT at the limits, STATE.
   */
  register(job: Job, asked: Pick<EffectRequest, 'effectId'>): Promise<EffectRegistered>
  /** Throws MayflyError NOT_FOUND, also for another tenant's effect. */
  get(tenant: string, effectId: string): Effect
  list(tenant: string): readonly EffectRow[]
  /** Throws MayflyError NOT_FOUND. */
  remove(tenant: string, effectId: string): void
}

/** Registry of stored effects: analysed at registration, separate for each tenant, run by name like any job. */
export function createEffects({ store, clock, analyse, plan, audit }: EffectsParts): Effects {
  return {
    async register(job, { effectId }) {
      const analysis = await analyse(job)
      if (analysis.kind === 'syntax-error') {
        const { message, line, column } = analysis
        throw notParsed({ message, line, column })
      }
      if (analysis.badModule) throw notParsed(analysis.badModule)
      const { verdict } = analysis
      const codeDigest = `sha256:${sha256(job.asked.code)}`
      const decision = decideRegistration(verdict)
      if (decision.audited) audit(job, audited(effectId, codeDigest, decision))
      if (decision.blocked) throw blocked(decision)

      const { limits } = plan(job, verdict).profile
      const registered = registeredOf(effectId, job, limits, verdict, decision)
      const { code, signature, publicKey } = job.asked
      store().put(job.tenant, {
        ...registered,
        language: verdict.language,
        registeredAt: clock.date(),
        codeDigest,
        code,
        ...(signature !== undefined && { signature }),
        ...(publicKey !== undefined && { publicKey }),
      })
      return registered
    },
    get(tenant, effectId) {
      const effect = store().get(tenant, effectId)
      if (!effect) throw notFound(effectId)
      return effect
    },
    list: (tenant) => store().list(tenant),
    remove(tenant, effectId) {
      if (!store().remove(tenant, effectId)) throw notFound(effectId)
    },
  }
}

interface ParseFault {
  readonly message: string
  readonly line?: number
  readonly column?: number
  /** In a WebAssembly module. */
  readonly offset?: number
}

const MB = 2 ** 20

function registeredOf(
  effectId: string,
  { principal }: Job,
  { timeout, memory }: Plan['profile']['limits'],
  { signatureValid }: Verdict,
  { score, severity }: Decision,
): EffectRegistered {
  return {
    effectId,
    timeout,
    memoryLimit: memory / MB,
    registeredBy: principal,
    security: { threatScore: score, severity, signatureValid },
  }
}

function audited(effectId: string, codeDigest: string, decision: Decision): EffectAudit {
  const { score, severity, blocked, patterns } = decision
  const names = patterns.map(({ name }) => name)
  return { effectId, codeDigest, threatScore: score, severity, patterns: names, blocked }
}

function blocked({ score, severity, patterns }: Decision): MayflyError {
  return new MayflyError('THREAT_DETECTED', 'Code contains potential security threats', {
    details: { score, severity, patterns },
    hint: threatChanges(patterns),
  })
}

function notParsed(fault: ParseFault): MayflyError {
  return new MayflyError('INVALID', `Cannot register the effect: "code": ${fault.message}`, {
    details: [{ path: 'code', ...fault }],
  })
}

function notFound(effectId: string): MayflyError {
  return new MayflyError('NOT_FOUND', `Cannot find the effect "${effectId}"`)
}
