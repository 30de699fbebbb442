import type { ExecutionExplanation } from '../assemble/assemble.ts'
import type { Event } from '../contract/event.ts'
import type { SessionFiles } from '../contract/exec.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { HostCalls, OutputListener } from '../contract/pipeline.ts'
import type { RunRequest, SessionRequest } from '../contract/session.ts'
import type { OwnExecutions } from './code-mode/kept-executions.ts'
import type { McpUpstream } from './servers/upstream.ts'

/** Reply of a person to a question of a call. */
export interface UserReply {
  /** Handle of the question, as the client gives it back: a stranger's text. */
  readonly state: string
  readonly isAllowed: boolean
}

/** Points about calls of MCP servers. */
export type McpPoint = 'mcp/called' | 'mcp/refused' | 'mcp/approved'

export interface ToolCaller {
  /** Aborts when the request is cancelled or its connection ends. */
  readonly signal: AbortSignal
  /** Live output. */
  readonly tap: OutputListener
  /** The client can ask a person. */
  readonly canAsk: boolean
  /** Present where this call continues one that asked. */
  readonly reply?: UserReply | undefined
  /** Functions that the job may call, made once its id is known. */
  readonly hostCalls?: ((run: string) => HostCalls) | undefined
}

/** A session of the caller that is open, or the outcome of one that could not be opened. */
export type ToolSession =
  | { readonly kind: 'open'; readonly id: string }
  | { readonly kind: 'ended'; readonly outcome: Outcome }

/**
 * Capabilities of the tools of one caller. Everything is a job or a session of this caller, on the road of all doors.
 * Throws MayflyError as those doors do: NOT_FOUND for the session of another caller.
 */
export interface ToolHost {
  run(request: JobRequest, caller: ToolCaller): Promise<Outcome>
  open(request: SessionRequest, signal: AbortSignal): Promise<ToolSession>
  exec(session: string, request: RunRequest, caller: ToolCaller): Promise<Outcome>
  /** Files of one session; counts `bytes` of a file that is written. */
  files(session: string): ToolFiles
  /** Ends a session; resolves to the outcome of its whole life. */
  end(session: string): Promise<Outcome>
  /** Analyses and plans a job; runs nothing. */
  explain(request: JobRequest): Promise<ExecutionExplanation>
  /** MCP servers of the configuration that this caller may call. */
  readonly servers: readonly McpUpstream[]
  /** Executions of this caller that wait for a person, or are kept for replay. Throws MayflyError STATE. */
  executions(): OwnExecutions
  /** Writes a line of the record, about a run where it names one, and an event. Throws MayflyError STATE. */
  record(point: McpPoint, fields: Event['fields'], run?: string): void
  /** Looks for planted secrets in what a run sends out; true where there is one. */
  outboundCheck(run: string): ((piece: Uint8Array) => boolean) | undefined
  /** Network of a job that asks for none, as the configuration grants it. */
  readonly hasNetwork: boolean
}

/** Files below the working folder of a session; none of the host. */
export type ToolFiles = Pick<SessionFiles, 'put' | 'get' | 'list'>
