import type { ErrorCode } from '../../contract/error.ts'
import type { Clock } from '../../contract/clock.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { Evidence } from '../../contract/evidence.ts'
import type { Job } from '../../contract/job.ts'
import type { Operations } from '../../contract/live.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { Profile } from '../../contract/profile.ts'
import type { OutputListener } from '../../contract/pipeline.ts'
import type { RiskAnalysis, TemporalZone } from '../../contract/zones.ts'
import type { Effects } from '../../effects/effects.ts'
import type { History } from '../../history/history.ts'
import type { Meters } from '../../telemetry/meters.ts'
import type { Threats } from '../../telemetry/threats.ts'
import type { RequestBodies } from './body.ts'
import type { ConfigBody, ConfigDocument } from './configuration-body.ts'
import type { Keys } from './keys.ts'
import type { GatewayLimits } from './limits.ts'
import type { LiveJobs } from './live-jobs.ts'
import type { ServerNames } from './origin.ts'
import type { Quotas } from './quota.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Tarpit } from './tarpit.ts'
import type { Refusals } from './refusals.ts'
import type { FairShare } from './fair-share.ts'
import type { JobSlots } from './job-slots.ts'
import type { ProviderRow } from '../../contract/answers.ts'
import type { ThreatReaders } from './threat-readers.ts'
import type { SessionTokens } from './session-token.ts'
import type { RequestTrace } from './request-trace.ts'

/** Runs a job through the pipeline. Rejects with MayflyError only if there is no outcome. */
export type RunJob = (
  job: Job,
  options: {
    readonly signal: AbortSignal
    readonly tap?: OutputListener
    readonly planned?: (profile: Profile) => void
    readonly on?: (entry: TimelineEntry) => void
  },
) => Promise<Outcome>

/**
 * Changes the configuration from the next job on; resolves to the values in force. Rejects with MayflyError INVALID,
 * FORBIDDEN with `details.widens`, or STATE if the change cannot be recorded.
 */
export type ChangeConfig = (
  patch: ConfigBody,
  by: { readonly principal: string; readonly mayWiden: boolean },
) => Promise<ConfigDocument>

export type Readiness =
  | { readonly ready: true; readonly walls: readonly string[] }
  /** Reason, and a fix for the operator. */
  | {
      readonly ready: false
      readonly reason: string
      readonly fix?: string
      /** Default NO_WALL. */
      readonly code?: ErrorCode
    }

/** Splits a job's code into zones. Rejects with MayflyError INVALID for a syntax error. */
export type AnalyseZones = (
  job: Job,
) => Promise<{ readonly risk: RiskAnalysis; readonly zones: readonly TemporalZone[] }>

/** Dependencies of the routes. */
export interface Door {
  readonly road: RunJob
  readonly effects: Effects
  /** Undefined: zone analysis over HTTP is disabled. */
  readonly analyseZones: AnalyseZones | undefined
  /** Undefined: live sandboxes are not exposed. */
  readonly operations: Operations | undefined
  /** Undefined: evidence is not exposed. */
  readonly evidence: Evidence | undefined
  readonly providers: () => Promise<readonly ProviderRow[]>
  /** Undefined: the configuration cannot be changed over HTTP. */
  readonly change: ChangeConfig | undefined
  readonly ready: () => Readiness
  readonly keys: Keys
  /** Undefined while page visitors get no tokens; tokens issued before are then refused. */
  readonly tokens: SessionTokens | undefined
  /** Tenant of jobs started by pages. */
  readonly pageTenant: string
  readonly names: ServerNames
  /** Listens on loopback only. */
  readonly isLocal: boolean
  readonly limits: GatewayLimits
  readonly bodies: RequestBodies
  readonly running: JobSlots
  /** Bytes of stored outcomes in unread responses. */
  readonly answers: FairShare
  readonly live: LiveJobs
  readonly history: History
  /** Job and cost quotas of tenants. */
  readonly quotas: Quotas
  /** Rate limits of keys, and of addresses without a key. */
  readonly keyRate: RateLimit
  readonly addressRate: RateLimit
  readonly operateRate: RateLimit
  readonly clock: Clock
  /** Turns every refusal into a problem for the client and an event for the sinks. */
  readonly refusals: Refusals
  /** Delays answers to clients that repeat refused requests at once. */
  readonly tarpit: Tarpit
  readonly meters: Pick<Meters, 'read'>
  readonly threats: Threats
  readonly threatReaders: ThreatReaders
  /** Emits an event for every answered request. */
  readonly requestTrace: RequestTrace
  readonly version: string
}
