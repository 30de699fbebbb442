import type { TimelineEntry } from '../contract/event.ts'
import type { JobRequest } from '../contract/job.ts'
import type { RiskAnalysis, TemporalZone } from '../contract/zones.ts'

/** Options of an execution: a job's fields without code, its owner, and its instance. */
export interface ExecutionInfo extends Omit<JobRequest, 'code' | 'calls'> {
  readonly tenant?: string
  readonly principal?: string
  /** Name chosen by the owner: from the second execution on, zones come from the first one's profile. */
  readonly instanceId?: string
  /** Aborting cancels the execution. */
  readonly signal?: AbortSignal | undefined
}

export interface MonitorOptions {
  /** Receives timeline entries, including those before the call. */
  readonly on?: (entry: TimelineEntry) => void
}

/** Zone as planned, or by name: zones of programs are known only once they start. */
export type ZoneName = Pick<TemporalZone, 'id' | 'execution'>

/** Arguments in the order of S2's pseudocode, or with the analysis between. */
export type CodeAssignment =
  | [code: string, zones: readonly TemporalZone[]]
  | [code: string, analysis: RiskAnalysis, zones: readonly TemporalZone[]]
