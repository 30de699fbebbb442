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
import type { Bodies } from './body.ts'
import type { ConfigBody, ConfigInForce } from '../doors/configuration.ts'
import type { Keys } from './keys.ts'
import type { GatewayLimits } from './limits.ts'
import type { LiveJobs } from './live-jobs.ts'
import type { Names } from './origin.ts'
import type { Quotas } from './quota.ts'
import type { RateLimit } from './rate.ts'
import type { Pace } from './pace.ts'
import type { Refusals } from './refusals.ts'
import type { Fair } from './fair.ts'
import type { Running } from './running.ts'
import type { ProviderRow } from '../../contract/answers.ts'
import type { ThreatReaders } from '../doors/threats.ts'
import type { SessionTokens } from './token.ts'
import type { Trail } from './trail.ts'

/** The way a job takes from here. Rejects with MayflyError only where there is no outcome to tell. */
export type Road = (
  job: Job,
  options: {
    readonly signal: AbortSignal
    readonly tap?: OutputListener
    readonly planned?: (profile: Profile) => void
    readonly on?: (entry: TimelineEntry) => void
  },
) => Promise<Outcome>

/**
 * Changes the configuration from the next job on; resolves to what is then in force. Rejects with MayflyError INVALID,
 * FORBIDDEN with `details.widens`, or STATE when there can be no line of it.
 */
export type Change = (
  patch: ConfigBody,
  by: { readonly principal: string; readonly mayWiden: boolean },
) => Promise<ConfigInForce>

export type Ready =
  | { readonly ready: true; readonly walls: readonly string[] }
  /** Not yet, or not here: why, and what the operator can do. */
  | {
      readonly ready: false
      readonly reason: string
      readonly fix?: string
      /** NO_WALL unless given. */
      readonly code?: ErrorCode
    }

/** Takes a job's code apart. Rejects with MayflyError INVALID for code that does not parse. */
export type Partitioning = (
  job: Job,
) => Promise<{ readonly risk: RiskAnalysis; readonly zones: readonly TemporalZone[] }>

/** What the routes are handed. */
export interface Door {
  readonly road: Road
  readonly effects: Effects
  /** Undefined where code is not taken apart over HTTP. */
  readonly partition: Partitioning | undefined
  /** Undefined where live sandboxes cannot be seen from outside. */
  readonly operations: Operations | undefined
  /** Undefined where evidence is not to be had over HTTP. */
  readonly evidence: Evidence | undefined
  readonly providers: () => Promise<readonly ProviderRow[]>
  /** Undefined where the configuration cannot be changed from outside. */
  readonly change: Change | undefined
  readonly ready: () => Ready
  readonly keys: Keys
  /** Undefined while visitors of the page get no tokens, and those that they have are not taken. */
  readonly tokens: SessionTokens | undefined
  /** The tenant whose jobs the page's are. */
  readonly pageTenant: string
  readonly names: Names
  /** Whether it listens on loopback alone. */
  readonly isLocal: boolean
  readonly limits: GatewayLimits
  readonly bodies: Bodies
  readonly running: Running
  /** Bytes of kept outcomes that are being read. */
  readonly answers: Fair
  readonly live: LiveJobs
  readonly history: History
  /** What tenants may have, of jobs and of what they cost. */
  readonly quotas: Quotas
  /** Requests of keys, and of addresses that brought none. */
  readonly keyRate: RateLimit
  readonly addressRate: RateLimit
  readonly operateRate: RateLimit
  readonly clock: Clock
  /** Every refusal at the doors passes here: to the client as a problem, to the sinks as an event. */
  readonly refusals: Refusals
  /** Holds back the answers to whoever is refused and asks again at once. */
  readonly pace: Pace
  readonly meters: Pick<Meters, 'read'>
  readonly threats: Threats
  readonly threatReaders: ThreatReaders
  /** Every answer at the doors is told here. */
  readonly trail: Trail
  readonly version: string
}
