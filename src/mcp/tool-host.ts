import type { ExecutionExplanation } from '../assemble/assemble.ts'
import type { Event } from '../contract/event.ts'
import type { SessionFiles } from '../contract/exec.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { HostCalls, OutputListener } from '../contract/pipeline.ts'
import type { RunRequest, SessionRequest } from '../contract/session.ts'
import type { OwnExecutions } from './code-mode/stored-executions.ts'
import type { OwnFiles } from './kept-files.ts'
import type { McpUpstream } from './servers/upstream.ts'

/** Reply of a person to a question of a call. */
export interface UserReply {
  /** Handle of the question, returned by the client (untrusted). */
  readonly state: string
  readonly isAllowed: boolean
}

/** Event points about calls of MCP servers. */
export type McpPoint = 'mcp/called' | 'mcp/refused' | 'mcp/approved'

export interface ToolCaller {
  /** Aborts when the request is cancelled or its connection ends. */
  readonly signal: AbortSignal
  /** Live output. */
  readonly tap: OutputListener
  /** True if the client can ask a person (elicitation). */
  readonly canAsk: boolean
  /** Reply to an earlier question, if this call continues it. */
  readonly reply?: UserReply | undefined
  /** Functions that the job may call, made once its id is known. */
  readonly hostCalls?: ((run: string) => HostCalls) | undefined
}

/** Open session of the caller, or the outcome of a session that could not be opened. */
export type ToolSession =
  | { readonly kind: 'open'; readonly id: string }
  | { readonly kind: 'ended'; readonly outcome: Outcome }

/**
 * Operations for the tools of one caller. Everything is a job or a session of this caller in the common pipeline.
 * Throws MayflyError like the HTTP API: NOT_FOUND for the session of another caller.
 */
export interface ToolHost {
  run(request: JobRequest, caller: ToolCaller): Promise<Outcome>
  open(request: SessionRequest, signal: AbortSignal): Promise<ToolSession>
  exec(session: string, request: RunRequest, caller: ToolCaller): Promise<Outcome>
  /** Files of one session; transferred bytes count for the quota. */
  files(session: string): ToolFiles
  /** Files that earlier calls of this caller left, for some minutes; bytes that an answer contains were charged with its run. */
  readonly kept: OwnFiles
  /** File that an earlier call left; its bytes count for the quota. */
  readKept(run: string, path: string): Uint8Array | undefined
  /** Closes a session; resolves to the outcome of its whole life. */
  end(session: string): Promise<Outcome>
  /** Analyses and plans a job; runs nothing. */
  explain(request: JobRequest): Promise<ExecutionExplanation>
  /** MCP servers of the configuration that this caller may call. */
  readonly servers: readonly McpUpstream[]
  /** Executions of this caller that wait for a person, or are stored for replay. Throws MayflyError STATE. */
  executions(): OwnExecutions
  /** Writes a line of the record, optionally about a run, and emits an event. Throws MayflyError STATE. */
  record(point: McpPoint, fields: Event['fields'], run?: string): void
  /** Check for planted secrets in outbound data of a run; returns true for a match. */
  outboundCheck(run: string): ((piece: Uint8Array) => boolean) | undefined
  /** True if the configuration grants a network to jobs that request none. */
  readonly hasNetwork: boolean
}

/** Files below the working folder of a session, not of the host. */
export type ToolFiles = Pick<SessionFiles, 'put' | 'get' | 'list'>
