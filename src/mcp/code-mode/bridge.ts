import { MayflyError, messageOf } from '../../contract/error.ts'
import type { HostCalls } from '../../contract/pipeline.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { sanitise } from '../../output/sanitise.ts'
import { refuseDeep } from '../tool.ts'
import type { ToolHost } from '../tool-host.ts'
import { toolsOf, type CatalogueTool } from '../servers/tool-catalogue.ts'
import type { McpUpstream } from '../servers/upstream.ts'
import { callKey, type CallKey, type CallJournal } from './journal.ts'

const ARGS_CHARACTERS_MAX = 256 * 2 ** 10
const MESSAGE_CHARACTERS_MAX = 500

/** A call that waits for a person. */
export interface PendingCall {
  readonly key: CallKey
  readonly argsText: string
}

/** A call of an execution, for its answer. */
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
  /** The client can ask a person. */
  readonly canAsk: boolean
  /** Answers come from the record alone, and no server is called. */
  readonly isReplay: boolean
}

/**
 * The way of calls from a sandbox to MCP servers.
 *
 * Problem: code chooses server, tool and arguments, and could name any. Declarations that a model was shown bind nothing.
 *
 * Mechanism: each call is looked up among the tools of this caller, its arguments are bounded and searched for planted
 * secrets, and it is written to the record before it goes out. A call that a person has to approve stops the execution:
 * calls under way are waited for and recorded, then its sandbox is destroyed, so that no time of a person is time of a
 * sandbox. After the approval the code runs again from its beginning, and recorded calls are answered from the record.
 *
 * Relies on code that asks the same again; a call that it did not make before is made, or asked about, anew.
 */
export class Bridge {
  readonly #parts: BridgeParts
  readonly #stop = new AbortController()
  readonly #notes: CallNote[] = []
  #underWay = 0
  #pending: PendingCall | undefined

  constructor(parts: BridgeParts) {
    this.#parts = parts
  }

  /** Aborts when the execution has to wait for a person. */
  get stopped(): AbortSignal {
    return this.#stop.signal
  }

  get pending(): PendingCall | undefined {
    return this.#pending
  }

  get notes(): readonly CallNote[] {
    return this.#notes
  }

  /** Answers calls of one run. */
  calls(run: string): HostCalls {
    return async (argsText, signal) => await this.#call(run, argsText, signal)
  }

  async #call(run: string, argsText: string, signal: AbortSignal): Promise<string> {
    const { tool, args } = await this.#asked(run, argsText)
    const key = callKey(tool.server, tool.name, args)
    const recorded = this.#parts.journal.take(key)
    if (recorded) {
      const isOk = recorded.kind === 'value'
      this.#note(key, isOk ? 'ok' : 'error', true)
      if (isOk) return recorded.text
      throw new MayflyError('CONFLICT', recorded.message)
    }
    if (this.#parts.isReplay)
      throw this.#refused(run, key, 'it is not in the record that is replayed')
    this.#refuseSecrets(run, key, argsText)
    if (tool.needsApproval && !this.#parts.journal.useApproval(key))
      return await this.#ask(run, { key, argsText: JSON.stringify(args) }, signal)
    if (this.#pending) return await never(signal)
    return await this.#make(run, tool, { key, args }, signal)
  }

  /** Tool and arguments of a call. Throws FORBIDDEN for a tool that this caller has not. */
  async #asked(run: string, argsText: string) {
    if (argsText.length > ARGS_CHARACTERS_MAX)
      throw new MayflyError('TOO_LARGE', 'Cannot take arguments this large')
    const asked = parseJson(argsText)
    const [server, fn, given] = Array.isArray(asked) ? (asked as unknown[]) : []
    const args = given ?? {}
    const upstream = this.#parts.servers.find((one) => one.config.name === server)
    const tool = upstream && (await toolsOf(upstream)).find((one) => one.fn === fn)
    if (!tool) {
      const name = (text: unknown) => String(text).slice(0, 100)
      const key = { server: name(server), tool: name(fn), args: '' }
      throw this.#refused(run, key, 'there is no such tool for this caller')
    }
    if (typeof args !== 'object' || Array.isArray(args))
      throw new MayflyError('INVALID', `Cannot call "${tool.name}": expected one object`)
    refuseDeep(args)
    return { tool, args: args as Record<string, unknown> }
  }

  #refuseSecrets(run: string, key: CallKey, argsText: string): void {
    const isPlanted = this.#parts.host.outboundCheck(run)
    if (isPlanted?.(Buffer.from(argsText)))
      throw this.#refused(run, key, 'its arguments hold a planted secret')
  }

  async #ask(run: string, call: PendingCall, signal: AbortSignal): Promise<string> {
    if (!this.#parts.canAsk)
      throw this.#refused(run, call.key, 'a person has to approve it, and this client cannot ask')
    this.#pending ??= call
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
      const value = await tool.upstream.call(tool.name, args, signal)
      const text = JSON.stringify(value) ?? 'null'
      this.#parts.journal.add(key, { kind: 'value', text })
      this.#note(key, 'ok')
      return text
    } catch (thrown) {
      const message = sanitise(messageOf(thrown)).slice(0, MESSAGE_CHARACTERS_MAX)
      // A call that was cancelled with its run has no end to record.
      if (!signal.aborted) this.#parts.journal.add(key, { kind: 'error', message })
      this.#note(key, 'error')
      throw new MayflyError('CONFLICT', message)
    } finally {
      this.#underWay--
      this.#stopWhenQuiet()
    }
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

/** Waits for the end of the run. */
function never(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const end = (): void => reject(new MayflyError('CONFLICT', 'The execution ended'))
    if (signal.aborted) end()
    signal.addEventListener('abort', end, { once: true })
  })
}
