import { AsyncLocalStorage } from 'node:async_hooks'
import type { Socket } from 'node:net'
import type { Client, Transport } from '@modelcontextprotocol/client'
import type { Clock } from '../../contract/clock.ts'
import type { McpServerConfig } from '../../contract/config.ts'
import { MayflyError, messageOf } from '../../contract/error.ts'
import { LoopLimiter } from '../../lib/loop-limiter.ts'
import { parseJson } from '../../lib/parse-json.ts'
import { believingValidator } from '../believing-validator.ts'
import { clientSdk } from '../protocol-sdk.ts'
import { boundedFetch, exchanges } from './bounded-fetch.ts'
import { fewAnswers } from './few-answers.ts'
import { LineTransport } from './line-transport.ts'

/** Limits of a server's tool list. */
const TOOLS_MAX = 500
/**
 * A printable line, as long as the protocol advises: names stand in answers to models, in questions to persons and in the
 * record.
 */
const TOOL_NAME = /^[^\p{C}\p{Zl}\p{Zp}]{1,128}$/u
const LIST_BYTES_MAX = 4 * 2 ** 20
const LISTED_MS_MAX = 5 * 60_000
/** Timeout of a handshake and of a tool list. */
const READY_MS_MAX = 10_000
/** Delay before a server that failed to list its tools is tried again. */
const FAILED_MS = 15_000
/** Allowance for the JSON-RPC envelope and progress notifications around a result. */
const OVERHEAD_BYTES = 256 * 2 ** 10
/** Time after a call in which its cancellation is sent; then its streams are closed. */
const LINGER_MS = 1000
/** Shortest delay before a stream that ended without an answer is opened again, whatever the server asks for. */
const AGAIN_MS_MIN = 500
/** Length from which a word of a credential is left out of errors, and of results, where a version or a date is data. */
const ERROR_SECRET_CHARACTERS_MIN = 8
const RESULT_SECRET_CHARACTERS_MIN = 20

/** Tool as described by its server (untrusted text). */
export interface McpUpstreamTool {
  readonly name: string
  readonly description: string
  readonly inputSchema: unknown
  readonly outputSchema: unknown
}

export interface McpUpstreamParts {
  readonly config: McpServerConfig
  readonly version: string
  readonly clock: Clock
  readonly env: NodeJS.ProcessEnv
  /** Starts the program of a server; resolves to a socket of its streams. The program ends with the socket. */
  readonly startProgram: (name: string) => Promise<Socket>
  /** Share of the event loop for parsing what the server sends; default {@link LoopLimiter}'s. */
  readonly limiter?: Pick<LoopLimiter, 'run'>
}

/**
 * Connection to a configured MCP server, for calls by agents' code.
 *
 * Problem: the operator allows calls to the server, but its data is untrusted: tools, descriptions, schemas and
 * results may come from an attacker.
 *
 * Mechanism: connects at the first call, and again after a loss; every response has a byte limit, and its streams end with the
 * call. All responses of the server together have a share of the event loop: 4 MB of small values take it for 0.4 s. Schemas
 * are displayed and never compiled: an untrusted pattern could block this process (ReDoS). Credentials are read from the
 * environment of this process when connecting, and appear in no error.
 *
 * Not handled: sampling, elicitation and roots; such requests of a server are refused.
 */
export class McpUpstream {
  readonly config: McpServerConfig
  readonly #parts: McpUpstreamParts
  readonly #limiter: Pick<LoopLimiter, 'run'>
  #client: Promise<Client> | undefined
  #listed: { readonly at: number; readonly tools: readonly McpUpstreamTool[] } | undefined
  #failed: { readonly at: number; readonly error: unknown } | undefined
  #listing: Promise<readonly McpUpstreamTool[]> | undefined

  constructor(parts: McpUpstreamParts) {
    this.config = parts.config
    this.#parts = parts
    this.#limiter = parts.limiter ?? new LoopLimiter()
  }

  /** Lists the tools of the server whose names are printable lines, cached for some minutes. Throws MayflyError UNAVAILABLE. */
  async tools(): Promise<readonly McpUpstreamTool[]> {
    const now = this.#parts.clock.now()
    if (this.#listed && now - this.#listed.at < LISTED_MS_MAX) return this.#listed.tools
    if (this.#failed && now - this.#failed.at < FAILED_MS) throw this.#failed.error
    this.#listing ??= this.#list().finally(() => (this.#listing = undefined))
    try {
      const tools = await this.#listing
      this.#listed = { at: now, tools }
      return tools
    } catch (error) {
      this.#failed = { at: now, error }
      throw error
    }
  }

  async #list(): Promise<readonly McpUpstreamTool[]> {
    return await this.#asking(async (client) => {
      // The SDK joins the pages, of which the bytes are bounded like one response.
      const { tools } = await client.listTools(
        {},
        { timeout: READY_MS_MAX, maxTotalTimeout: READY_MS_MAX },
      )
      return tools
        .filter(({ name }) => TOOL_NAME.test(name))
        .slice(0, TOOLS_MAX)
        .map(({ name, description = '', inputSchema, outputSchema }) => ({
          name,
          description,
          inputSchema,
          outputSchema,
        }))
    })
  }

  /** Calls a tool; resolves to its value. Throws MayflyError with the server's error text, truncated. */
  async call(tool: string, args: Record<string, unknown>, signal: AbortSignal): Promise<unknown> {
    const { timeout, answer } = this.config
    return await this.#asking(async (client) => {
      const result = await client.callTool(
        { name: tool, arguments: args },
        { signal, timeout, maxTotalTimeout: timeout },
      )
      return this.#resultWithoutSecrets(valueOf(result, answer))
    })
  }

  async close(): Promise<void> {
    const client = await this.#client?.catch(() => undefined)
    this.#client = undefined
    await client?.close().catch(() => undefined)
  }

  async #asking<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const ended = new AbortController()
    try {
      return await exchanges.run({ signal: ended.signal, bytes: 0 }, async () => {
        this.#client ??= this.#connect()
        return await work(await this.#client)
      })
    } catch (thrown) {
      // Cut afterwards: a part of a credential is not found.
      const message = this.#withoutSecrets(messageOf(thrown), ERROR_SECRET_CHARACTERS_MIN).slice(
        0,
        WHY_CHARACTERS_MAX,
      )
      if (thrown instanceof MayflyError)
        throw message === messageOf(thrown) ? thrown : new MayflyError(thrown.code, message)
      const { name, command } = this.config
      const why = command && CLOSED.test(message) ? endedText : message
      throw new MayflyError('UNAVAILABLE', `Cannot call the MCP server "${name}": ${why}`)
    } finally {
      this.#parts.clock.after(LINGER_MS, () => ended.abort()).unref?.()
    }
  }

  /** Text without the credentials, which a server can return and `Headers` quotes if they are malformed. */
  #withoutSecrets(text: string, charactersMin: number): string {
    return this.#secretsOf(charactersMin).reduce(
      (rest, word) => rest.replaceAll(word, '[credential]'),
      text,
    )
  }

  #secretsOf(charactersMin: number): readonly string[] {
    const { headers_env: headers, env } = this.config
    const valueOf = (name: string) => this.#parts.env[name] ?? ''
    // A program gets folders by variables too, whose files its results name.
    const passed = env.map(valueOf).filter((value) => !value.startsWith('/'))
    return [...Object.values(headers).map(valueOf), ...passed]
      .flatMap((value) => [value, ...value.split(/\s+/)])
      .filter((word) => word.length >= charactersMin)
      .flatMap((word) => [word, JSON.stringify(word).slice(1, -1)])
  }

  #resultWithoutSecrets(value: unknown): unknown {
    // Most servers have no credential: a large result is not written for them.
    if (this.#secretsOf(RESULT_SECRET_CHARACTERS_MIN).length === 0) return value
    const text = JSON.stringify(value) ?? 'null'
    const clean = this.#withoutSecrets(text, RESULT_SECRET_CHARACTERS_MIN)
    return clean === text ? value : parseJson(clean)
  }

  async #connect(): Promise<Client> {
    try {
      const client = await this.#connected()
      client.onclose = () => void (this.#client = undefined)
      return client
    } catch (thrown) {
      this.#client = undefined
      throw thrown
    }
  }

  async #connected(): Promise<Client> {
    const { url } = this.config
    if (url !== undefined) return await this.#shakeHands(await this.#overHttp(url), 'auto')
    // The handshake is sent first, because some programs exit at a request before it.
    try {
      return await this.#shakeHands(await this.#overSocket(), 'legacy')
    } catch (thrown) {
      if (!isOtherVersion(thrown)) throw thrown
      return await this.#shakeHands(await this.#overSocket(), { pin: '2026-07-28' })
    }
  }

  async #shakeHands(
    transport: Transport,
    mode: 'auto' | 'legacy' | { pin: string },
  ): Promise<Client> {
    const { Client: SdkClient } = clientSdk()
    const client = new SdkClient(
      { name: 'mayfly', version: this.#parts.version },
      { capabilities: {}, versionNegotiation: { mode }, jsonSchemaValidator: believingValidator },
    )
    try {
      await client.connect(fewAnswers(transport), {
        timeout: READY_MS_MAX,
        maxTotalTimeout: READY_MS_MAX,
      })
      return client
    } catch (thrown) {
      await transport.close().catch(() => undefined)
      throw thrown
    }
  }

  async #overHttp(url: string): Promise<Transport> {
    const { StreamableHTTPClientTransport } = clientSdk()
    const { headers_env: named, name } = this.config
    const headers: Record<string, string> = {}
    for (const [header, variable] of Object.entries(named)) {
      const value = this.#parts.env[variable]
      if (value === undefined)
        throw new MayflyError(
          'CONFIG',
          `Cannot call the MCP server "${name}": "${variable}" is unset`,
        )
      headers[header] = value
    }
    const bytesMax = Math.max(LIST_BYTES_MAX, this.config.answer) + OVERHEAD_BYTES
    return new StreamableHTTPClientTransport(new URL(url), {
      fetch: boundedFetch(bytesMax, this.#limiter),
      requestInit: { headers },
      reconnectionScheduler: (again, ms) => {
        // The new stream belongs to the exchange of the ended one, whatever timers of the clock keep.
        const bound = AsyncLocalStorage.bind(again)
        const timer = this.#parts.clock.after(Math.max(ms, AGAIN_MS_MIN), bound)
        timer.unref?.()
        return () => timer.cancel()
      },
    })
  }

  async #overSocket(): Promise<Transport> {
    const socket = await this.#parts.startProgram(this.config.name)
    const bytesMax = Math.max(LIST_BYTES_MAX, this.config.answer) + OVERHEAD_BYTES
    return new LineTransport(socket, bytesMax, this.#limiter)
  }
}

const WHY_CHARACTERS_MAX = 500
/** Text of the SDK. */
const CLOSED = /^Connection closed/
const endedText =
  "its program ended before it answered; what it printed on stderr is in the log of Mayfly's operator"

function isOtherVersion(thrown: unknown): boolean {
  const { code } = (thrown ?? {}) as { readonly code?: unknown }
  return typeof code === 'number' && code < 0
}

interface ToolResult {
  readonly content?: readonly unknown[]
  readonly structuredContent?: unknown
  readonly isError?: boolean | undefined
}

/** Value of a result: its structured content, else its text, else its parts without binary data. */
function valueOf(result: ToolResult, bytesMax: number): unknown {
  const { content = [], structuredContent, isError } = result
  const texts = content.flatMap((one) => {
    const { type, text } = one as { readonly type?: unknown; readonly text?: unknown }
    return type === 'text' && typeof text === 'string' ? [text] : []
  })
  const text = texts.join('\n')
  if (isError) throw new MayflyError('CONFLICT', text || 'The tool failed')
  const value =
    structuredContent ?? (texts.length === content.length ? text : content.map(withoutBytes))
  if (Buffer.byteLength(JSON.stringify(value) ?? '') <= bytesMax) return value
  throw new MayflyError('TOO_LARGE', `Cannot accept a result of more than ${bytesMax} bytes`)
}

function withoutBytes(part: unknown): unknown {
  const { data, blob, ...rest } = part as { readonly data?: unknown; readonly blob?: unknown }
  return { ...rest, ...((data !== undefined || blob !== undefined) && { leftOut: 'bytes' }) }
}
