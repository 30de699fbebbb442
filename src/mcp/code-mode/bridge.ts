import { addAbortListener } from 'node:events'
import { MayflyError, messageOf } from '../../contract/error.ts'
import type { HostCalls } from '../../contract/pipeline.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { sanitise, sanitiseLine } from '../../output/sanitise.ts'
import { refuseDeep } from '../tool.ts'
import type { ToolHost } from '../tool-host.ts'
import { toolsOf, type CatalogueTool } from '../servers/tool-catalogue.ts'
import type { McpUpstream } from '../servers/upstream.ts'
import { callKey, type CallKey, type CallJournal, type RecordedEnd } from './journal.ts'

const ARGS_CHARACTERS_MAX = 256 * 2 ** 10
const MESSAGE_CHARACTERS_MAX = 500
const NAME_CHARACTERS_MAX = 100

/** Call that waits for the approval of a person. */
export interface PendingCall {
  readonly key: CallKey
  readonly argsText: string
  /** Reason for which each call of its server waits. */
  readonly because?: string | undefined
}

/** Call of an execution, as listed in its answer. */
export interface CallNote {
  readonly server: string
  readonly tool: string
  readonly status: 'ok' | 'error' | 'refused'
  /** Answered from the record. */
  readonly replayed: boolean
}

export interface BridgeParts {
  readonly host: Pick<ToolHost, 'record' | 'outboundCheck'>
  readonly servers: readonly McpUpstream[]
  readonly journal: CallJournal
  /** True if the client can ask a person (elicitation). */
  readonly canAsk: boolean
  /** True for a replay: recorded answers only, no server is called. */
  readonly isReplay: boolean
}

/**
 * Bridges calls from a sandbox to MCP servers.
 *
 * Problem: untrusted code chooses server, tool and arguments. The declarations shown to a model restrict nothing.
 *
 * Mechanism: each call must be among the tools of this caller; its arguments are bounded and searched for planted
 * secrets, and the call is written to the record before it is sent. A call that needs the approval of a person stops the execution:
 * pending calls are awaited and recorded, then the sandbox is destroyed, so that it does not wait for a
 * person. After the approval the code runs again from its beginning, and recorded calls are answered from the journal.
 *
 * Relies on deterministic code: a call without a recorded answer is sent to the server, or needs a new approval.
 */
export class Bridge {
  readonly #parts: BridgeParts
  readonly #stop = new AbortController()
  readonly #notes: CallNote[] = []
  #underWay = 0
  #isUsed = false
  #pending: PendingCall | undefined

  constructor(parts: BridgeParts) {
    this.#parts = parts
  }

  /** Aborts when the execution must wait for a person. */
  get stopped(): AbortSignal {
    return this.#stop.signal
  }

  get pending(): PendingCall | undefined {
    return this.#pending
  }

  /** True once the code has called anything. */
  get isUsed(): boolean {
    return this.#isUsed
  }

  get notes(): readonly CallNote[] {
    return this.#notes
  }

  /** Handler for the calls of one run. */
  calls(run: string): HostCalls {
    return async (argsText, signal) => await this.#call(run, argsText, signal)
  }

  async #call(run: string, argsText: string, signal: AbortSignal): Promise<string> {
    this.#isUsed = true
    const { tool, args } = await this.#asked(run, argsText)
    const key = callKey(tool.server, tool.name, args)
    const recorded = this.#parts.journal.take(key)
    if (recorded) return this.#told(key, recorded, true)
    if (this.#parts.isReplay)
      throw this.#refused(run, key, 'the replayed execution has no recorded answer for it')
    this.#refuseSecrets(run, key, argsText)
    // Before an approval is used: this run makes no call any more.
    if (this.#pending) return await never(signal)
    const isApproved = tool.needsApproval && this.#parts.journal.useApproval(key)
    if (this.#parts.journal.isFull && !isApproved)
      throw this.#refused(run, key, 'this execution has recorded as many answers as it may')
    if (tool.needsApproval && !isApproved)
      return await this.#ask(
        run,
        { key, argsText: JSON.stringify(args), because: tool.approvalBecause },
        signal,
      )
    return await this.#make(run, tool, { key, args }, signal)
  }

  /** Resolves tool and arguments of a call. Throws FORBIDDEN for a tool that this caller may not call. */
  async #asked(run: string, argsText: string) {
    if (argsText.length > ARGS_CHARACTERS_MAX)
      throw new MayflyError('TOO_LARGE', 'Cannot accept the arguments: they are too large')
    const asked = parseJson(argsText)
    const [server, fn, given] = Array.isArray(asked) ? (asked as unknown[]) : []
    const args = given ?? {}
    const upstream = this.#parts.servers.find((one) => one.config.name === server)
    const tool = upstream && (await toolsOf(upstream)).find((one) => one.fn === fn)
    if (!tool) {
      const key = { server: shownName(server), tool: shownName(fn), args: '' }
      throw this.#refused(run, key, 'this caller may call no tool of this name')
    }
    if (typeof args !== 'object' || Array.isArray(args))
      throw new MayflyError('INVALID', `Cannot call "${tool.name}": expected one object`)
    refuseDeep(args)
    return { tool, args: args as Record<string, unknown> }
  }

  #refuseSecrets(run: string, key: CallKey, argsText: string): void {
    const isPlanted = this.#parts.host.outboundCheck(run)
    if (isPlanted?.(Buffer.from(argsText)))
      throw this.#refused(run, key, 'its arguments contain a planted secret')
  }

  async #ask(run: string, call: PendingCall, signal: AbortSignal): Promise<string> {
    if (!this.#parts.canAsk)
      throw this.#refused(
        run,
        call.key,
        `it needs the approval of a person, and this client cannot ask${call.because ? ` (${call.because})` : ''}`,
      )
    this.#pending = call
    this.#stopWhenQuiet()
    return await never(signal)
  }

  async #make(
    run: string,
    tool: CatalogueTool,
    { key, args }: { readonly key: CallKey; readonly args: Record<string, unknown> },
    signal: AbortSignal,
  ): Promise<string> {
    this.#parts.host.record('mcp/called', { ...key }, run)
    this.#underWay++
    try {
      const end = await endOf(tool, args, signal)
      // A call cancelled with its run has no result to record.
      const isCut = end.kind === 'error' && signal.aborted
      return this.#told(key, isCut ? end : this.#parts.journal.add(key, end))
    } finally {
      this.#underWay--
      this.#stopWhenQuiet()
    }
  }

  /** Notes the end of a call, and passes it to the code. */
  #told(key: CallKey, end: RecordedEnd, replayed = false): string {
    const isOk = end.kind === 'value'
    this.#note(key, isOk ? 'ok' : 'error', replayed)
    if (isOk) return end.text
    throw new MayflyError('CONFLICT', end.message)
  }

  #stopWhenQuiet(): void {
    if (this.#pending && this.#underWay === 0) this.#stop.abort()
  }

  #refused(run: string, key: CallKey, why: string): MayflyError {
    this.#note(key, 'refused')
    this.#parts.host.record('mcp/refused', { ...key, because: why }, run)
    return new MayflyError('FORBIDDEN', `Cannot call "${key.server}.${key.tool}": ${why}`)
  }

  #note({ server, tool }: CallKey, status: CallNote['status'], replayed = false): void {
    this.#notes.push({ server, tool, status, replayed })
  }
}

async function endOf(
  { upstream, name }: CatalogueTool,
  args: Record<string, unknown>,
  signal: AbortSignal,
): Promise<RecordedEnd> {
  try {
    const value = await upstream.call(name, args, signal)
    return { kind: 'value', text: JSON.stringify(value) ?? 'null' }
  } catch (thrown) {
    const message = sanitise(messageOf(thrown)).slice(0, MESSAGE_CHARACTERS_MAX)
    return { kind: 'error', message }
  }
}

/** Name of no tool, as code called it. */
function shownName(name: unknown): string {
  return typeof name === 'string' ? sanitiseLine(name.slice(0, NAME_CHARACTERS_MAX)) : typeof name
}

/** Waits for the end of the run. */
function never(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    addAbortListener(signal, () => reject(new MayflyError('CONFLICT', 'The execution ended')))
  })
}
