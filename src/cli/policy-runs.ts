import { existsSync } from 'node:fs'
import * as z from 'zod'
import type { Config, Tenant } from '../contract/config.ts'
import { languages } from '../contract/job.ts'
import { strengthOf, type TierName, tierNames } from '../contract/tier.ts'
import { severity } from '../contract/verdict.ts'
import { recordLineOf } from '../evidence/log-page.ts'
import { openLog } from '../evidence/log-reader.ts'
import { stateError } from '../evidence/state-error.ts'
import { parseJson } from '../lib/parse-json.ts'
import { auditFile, signerFolder } from '../lib/state-folder.ts'
import { assertPlainStore } from '../lib/store-file.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { ruleByRisk } from '../profile/choose-tier.ts'
import { tenantOf } from '../profile/make-profile.ts'
import { lastSigned } from '../warden/sign.ts'
import { table } from './print.ts'
import { outputOfOwner, strangerOwning } from './state-owner.ts'

/** A recorded run, and what a configuration says to its risk. */
export interface SimulatedRun {
  readonly run: string
  /** Time of admission, as ISO 8601. */
  readonly at: string
  readonly tenant: string
  readonly language: string
  readonly risk: number
  readonly judged: boolean
  readonly was: { readonly kind: 'run' | 'blocked' | 'unavailable'; readonly tier: TierName }
  /**
   * `same`: as recorded. `stronger`: it would need a stronger wall, of at least `tier`. `blocked`: it ran, and would not.
   * `unblocked`: it was blocked for its risk or as unsigned, and would not be.
   */
  readonly verdict: 'same' | 'stronger' | 'blocked' | 'unblocked'
  /** Least tier, by this configuration. */
  readonly tier: TierName
  readonly because: string
}

/** Lines of the log that are read at most, newest first. */
const linesMax = 10_000
const tier = z.enum(tierNames as [TierName, ...TierName[]])
const admitted = z.object({
  kind: z.literal('admitted'),
  run: z.string(),
  at: z.number(),
  tenant: z.string(),
  body: z.object({
    language: z.enum(languages),
    plan: z.object({
      kind: z.enum(['run', 'blocked', 'unavailable']),
      tier,
      error: z.string().optional(),
    }),
    security: z.object({
      risk: z.number(),
      severity,
      /** Absent in lines of earlier versions. */
      judged: z.boolean().default(true),
      signatureValid: z.boolean(),
    }),
  }),
})
type Admitted = z.infer<typeof admitted>

/**
 * Judges the newest recorded runs anew, oldest first: by risk, tenant, language and signature as the record has them. Limits,
 * network, schedules and the number of signers are not in the record. Throws MayflyError STATE for a log that cannot be read.
 */
export function simulateRuns(
  config: Config,
  { limit }: { limit: number },
): readonly SimulatedRun[] {
  return linesOf(config.state)
    .flatMap((line) => admitted.safeParse(line).data ?? [])
    .slice(-limit)
    .map((line) => judgeAnew(config, line))
}

/** Formats the runs that would end otherwise, and counts all. */
export function simulatedRunsText(runs: readonly SimulatedRun[]): string {
  const changed = runs.filter(({ verdict }) => verdict !== 'same')
  const rows = changed.map(({ run, at, tenant, risk, judged, was, verdict, tier, because }) => [
    run,
    at,
    tenant,
    judged ? String(risk) : 'not judged',
    was.kind === 'run' ? was.tier : was.kind,
    verdict === 'stronger' ? `at least ${tier}` : verdict,
    because,
  ])
  const counts = `${runs.length} recorded runs, ${changed.length} of them would change`
  const head = ['run', 'at', 'tenant', 'risk', 'was', 'would be', 'because']
  return `${rows.length > 0 ? `${table([head, ...rows])}\n` : ''}${counts}\n`
}

/** Scores that choose a wall: code that nothing read is given one by its language alone. */
function decisiveOf<T extends Admitted['body']['security']>(security: T): T {
  return security.judged || security.risk > 40
    ? security
    : { ...security, risk: 0, severity: 'low' }
}

function judgeAnew(config: Config, { run, at, tenant, body }: Admitted): SimulatedRun {
  const { language, plan, security } = body
  const ruledTenant = tenantOf(config, tenant)
  const ruling = ruleByRisk({
    config,
    tenant: ruledTenant,
    asked: {},
    verdict: { language, ...decisiveOf(security), findings: [] },
    abilities: [],
  })
  const { kind } = plan
  const about = {
    run,
    at: new Date(at).toISOString(),
    tenant,
    language,
    risk: security.risk,
    judged: security.judged,
  }
  const was = { kind, tier: plan.tier }
  const told = (
    verdict: SimulatedRun['verdict'],
    floor = ruling.floor,
    because = floor.because,
  ) => ({
    ...about,
    was,
    verdict,
    tier: floor.tier,
    because,
  })
  const unsigned = security.signatureValid ? undefined : signatureRule(config, ruledTenant)
  const blocked = unsigned ?? ruling.blocked
  if (blocked !== undefined) {
    const isSame = kind !== 'run'
    return told(isSame ? 'same' : 'blocked', ruling.floor, blocked)
  }
  if (kind === 'unavailable') return told('same')
  if (kind === 'blocked') {
    const error = sanitiseLine(plan.error ?? '')
    if (error === 'SIGNATURE_REQUIRED')
      return told('unblocked', ruling.floor, `${error} no longer; its code was not analysed`)
    return error === 'THREAT_DETECTED' ? told('unblocked') : told('same', ruling.floor, error)
  }
  const held = strengthOf[plan.tier]
  if (held >= ruling.floor.strength || plan.tier === 'mock') return told('same')
  const { instead } = ruling
  return instead && held >= instead.strength ? told('same', instead) : told('stronger')
}

/** Rule that blocks unsigned code of a tenant, if any. */
function signatureRule({ signing }: Config, tenant: Tenant): string | undefined {
  if (signing.required) return 'signing.required, no signature'
  return tenant.signing.required
    ? `tenants.${tenant.name}.signing.required, no signature`
    : undefined
}

/** Lines of a log, oldest first; none if there is no log yet. Of another user's folder they are read as that user. */
function linesOf(state: string): readonly unknown[] {
  const owner = strangerOwning(state)
  if (owner) {
    const task = { state, signed: lastSigned(signerFolder(state)) }
    const words = ['audit', 'list', '--json', '--limit', String(linesMax)]
    return z
      .array(z.unknown())
      .parse(parseJson(outputOfOwner(owner, { task, words, stdout: 'pipe' })))
  }
  const path = auditFile(state)
  try {
    assertPlainStore(path)
    if (!existsSync(path)) return []
    using log = openLog(path)
    return log.last(linesMax).map(recordLineOf)
  } catch (thrown) {
    throw stateError('read', path, thrown)
  }
}
