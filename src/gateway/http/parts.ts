import type { HttpBindings } from '@hono/node-server'
import type { ErrorCode } from '../../contract/error.ts'
import type { Clock } from '../../contract/clock.ts'
import type { TimelineEntry } from '../../contract/event.ts'
import type { AuditPage, Evidence } from '../../contract/evidence.ts'
import type { LogQuery } from '../../evidence/log-page.ts'
import type { Job } from '../../contract/job.ts'
import type { Operations } from '../../contract/live.ts'
import type { Outcome } from '../../contract/outcome.ts'
import type { RiskAnalysis, TemporalZone } from '../../contract/zones.ts'
import type { OpenedSession } from '../../contract/session.ts'
import type { OpenSessions } from '../../sessions/open-sessions.ts'
import type { Effects } from '../../effects/effects.ts'
import type { History } from '../../history/history.ts'
import type { Caller } from '../../life.ts'
import type { Meters } from '../../telemetry/meters.ts'
import type { Threats } from '../../telemetry/threats.ts'
import type { RequestBodies } from './body.ts'
import type { ConfigBody, ConfigDocument } from './configuration-body.ts'
import type { Identity, Keys } from './keys.ts'
import type { GatewayLimits } from './limits.ts'
import type { LiveJobs } from './live-jobs.ts'
import type { ServerNames } from './origin.ts'
import type { PageSessions } from './page-sessions.ts'
import type { JobQuotas, Quotas } from './quota.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Tarpit } from './tarpit.ts'
import type { Refusals } from './refusals.ts'
import type { SenderShares } from './sender-shares.ts'
import type { JobSlots } from './job-slots.ts'
import type { ProviderRow } from '../../contract/answers.ts'
import type { ThreatReaders } from './threat-readers.ts'
import type { SessionTokens } from './session-token.ts'
import type { RequestTrace } from './request-trace.ts'

/** Runs a job through the pipeline. Rejects with MayflyError only if there is no outcome. */
export type RunJob = (job: Job, caller: Caller) => Promise<Outcome>

/**
 * Changes the configuration from the next job on; resolves to the values in force. Rejects with MayflyError INVALID,
 * FORBIDDEN with `details.widens`, or STATE if the change cannot be recorded.
 */
export type ChangeConfig = (
  patch: ConfigBody,
  by: { readonly principal: string; readonly mayWiden: boolean },
) => Promise<ConfigDocument>

export type Readiness =
  | {
      readonly ready: true
      readonly walls: readonly string[]
      /** Provider modules that serve nothing; `GET /v1/providers` has the reasons. */
      readonly refused?: readonly string[]
    }
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

/** Endpoint: parts that every request meets before its door. */
export interface Endpoint {
  readonly names: ServerNames
  /** Listens on loopback only. */
  readonly isLocal: boolean
  readonly limits: GatewayLimits
  /** Maps every refusal to a problem for the client and an event for the sinks. */
  readonly refusals: Refusals
  /** Delays responses to clients that immediately repeat refused requests. */
  readonly tarpit: Tarpit
  /** Emits an event for every answered request. */
  readonly requestTrace: RequestTrace
  readonly version: string
}

/** API keys, and the rate limits of keys and of addresses without a key. */
export interface Authentication {
  readonly keys: Keys
  readonly keyRate: RateLimit
  readonly addressRate: RateLimit
}

/** Visitors of pages, authenticated by a session token instead of a key. */
export interface Visitors {
  /** Undefined while page visitors get no tokens; tokens issued before are then refused. */
  readonly tokens: SessionTokens | undefined
  /** Tenant of jobs started by pages. */
  readonly pageTenant: string
  readonly pageSessions: PageSessions
  /** Tokens by address. */
  readonly mintRate: RateLimit
  readonly quotas: Quotas
}

/** Dependencies for making a job from a request body. */
export interface JobIntake {
  readonly clock: Clock
  readonly effects: Effects
}

/** Dependencies for running a job and storing its outcome. */
export interface JobStart {
  readonly road: RunJob
  readonly running: JobSlots
  /** Job and cost quotas of the tenant, or of the page visitor. */
  readonly quotas: JobQuotas
  readonly live: LiveJobs
  readonly history: History
  readonly clock: Clock
  readonly refusals: Refusals
}

/** Dependencies for reading a stored outcome in the fair queue of its tenant. */
export interface StoredOutcomes extends SessionParts {
  readonly history: History
  readonly bodies: RequestBodies
  /** Bytes of outcomes and files in unread responses. */
  readonly answers: SenderShares
}

/** Sessions of this server. */
export interface SessionParts {
  /** Undefined: sessions are disabled. */
  readonly sessions: ServedSessions | undefined
}

export interface ServedSessions {
  readonly open: (
    job: Job,
    options: { readonly signal: AbortSignal; readonly on?: (entry: TimelineEntry) => void },
  ) => Promise<OpenedSession>
  readonly held: OpenSessions
}

/** Dependencies of the MCP endpoint. */
export type McpParts = JobStart & SessionParts & Pick<StoredOutcomes, 'answers' | 'bodies'>

/** MCP endpoint, loaded at its first request. */
export interface McpEndpoint {
  answer(parts: McpParts, http: HttpBindings, identity: Identity): Promise<Response>
  /** Cancels running calls, and ends their streams. */
  close(): Promise<void>
}

/** Orders of operators, and their rate limit. */
export interface Operating {
  /** Undefined: live sandboxes are not exposed. */
  readonly operations: Operations | undefined
  readonly operateRate: RateLimit
}

/** State of the server and its metrics. */
export interface ServerState {
  readonly ready: () => Readiness
  readonly providers: () => Promise<readonly ProviderRow[]>
  readonly meters: Pick<Meters, 'read'>
  readonly threats: Threats
  readonly threatReaders: ThreatReaders
}

/** Parts that a server may lack. */
export interface OptionalParts {
  /** Reads a page of the audit log. Throws MayflyError STATE. Undefined: it is not exposed. */
  readonly audit: ((query: LogQuery) => AuditPage) | undefined
  /** Undefined: zone analysis over HTTP is disabled. */
  readonly analyseZones: AnalyseZones | undefined
  /** Undefined: evidence is not exposed. */
  readonly evidence: Evidence | undefined
  /** Undefined: the configuration cannot be changed over HTTP. */
  readonly change: ChangeConfig | undefined
  /** Undefined: MCP is disabled. */
  readonly mcp: McpEndpoint | undefined
}

/** Parts of both endpoints; the routes pass to each handler the parts in its type. */
export interface GatewayParts
  extends
    Endpoint,
    Authentication,
    Visitors,
    JobIntake,
    JobStart,
    StoredOutcomes,
    Operating,
    SessionParts,
    ServerState,
    OptionalParts {
  readonly quotas: Quotas
}
