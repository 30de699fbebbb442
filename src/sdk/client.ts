import type { TimelineEntry } from '../contract/event.ts'
import type * as z from 'zod'
import type {
  Effect,
  EffectRegistered,
  effectExecuted,
  effectRequest,
  effectRows,
} from '../contract/effect.ts'
import type { ProviderRow, ThreatRow } from '../contract/answers.ts'
import type { CapabilityRow } from '../contract/capability.ts'
import type { Override, OverrideInput } from '../contract/config.ts'
import type { JobRequest } from '../contract/job.ts'
import type { Outcome } from '../contract/outcome.ts'
import type { ExecutionRow } from '../history/history.ts'
import { parseJson } from '../lib/parse-json.ts'

export interface ClientOptions {
  /** URL of the active endpoint, e.g. `http://127.0.0.1:7421`. */
  readonly url: string
  /** An API key. */
  readonly key: string
  /** Replacement for the global fetch, e.g. for a proxy or a private CA. */
  readonly fetch?: typeof fetch
}

export interface AskOptions {
  readonly signal?: AbortSignal
  /** Idempotency key: the same key and job run once. */
  readonly idempotencyKey?: string
}

/** Execution that has not ended. */
export interface Pending {
  readonly id: string
  readonly status: 'queued' | 'running'
}

export type StreamEvent =
  | { readonly event: 'stdout' | 'stderr'; readonly data: { readonly text: string } }
  | { readonly event: 'event'; readonly data: TimelineEntry }
  | { readonly event: 'outcome'; readonly data: Outcome }

export interface WatchOptions {
  readonly signal?: AbortSignal
  readonly after?: number
}

/** Configuration that can change over HTTP: as given and as in force. */
export type ConfigPatch = OverrideInput
export type ConfigInForce = Override

export interface ListOptions {
  readonly limit?: number
  readonly cursor?: string
  readonly labels?: Readonly<Record<string, string>>
}

/** Problem answered by the server instead of an outcome. */
export class MayflyProblem extends Error {
  override readonly name = 'MayflyProblem'
  readonly status: number
  /** Stable, in capitals. */
  readonly code: string
  readonly details: unknown
  readonly retryAfterMs: number | undefined

  constructor(status: number, problem: Problem) {
    super(problem.message ?? `The server answered ${status}`)
    this.status = status
    this.code = problem.code ?? 'UNREADABLE'
    this.details = problem.details ?? null
    this.retryAfterMs = problem.retryAfter === undefined ? undefined : problem.retryAfter * 1000
  }
}

interface Problem {
  readonly code?: string
  readonly message?: string
  readonly details?: unknown
  readonly retryAfter?: number
  readonly outcome?: Outcome
}

/** Maximum of one event in characters; larger than any outcome. */
const EVENT_CHARS_MAX = 2 ** 28

/**
 * Client of a Mayfly server, for any runtime with `fetch`. The end of a job is a value, whatever its status; errors
 * are MayflyProblem, or those of `fetch`.
 *
 * @example
 * const mayfly = new MayflyClient({ url: 'http://127.0.0.1:7421', key: process.env.MAYFLY_KEY })
 * const outcome = await mayfly.run({ code: 'return input.a + 1', input: { a: 1 } })
 * console.log(outcome.result) // 2
 */
export class MayflyClient {
  readonly #options: ClientOptions

  constructor(options: ClientOptions) {
    this.#options = options
  }

  /** Runs a job and waits for its outcome. Aborting cancels the job. */
  async run(job: JobRequest, options: AskOptions = {}): Promise<Outcome> {
    return read(await this.#post(job, options, {}))
  }

  /** Runs a job and streams its events; the last is the outcome. Leaving the loop cancels the job. */
  async *stream(job: JobRequest, options: AskOptions = {}): AsyncGenerator<StreamEvent> {
    const response = await this.#post(job, options, { accept: 'text/event-stream' })
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream')
    if (!isStream || !response.body) {
      yield { event: 'outcome', data: await read(response) }
      return
    }
    for await (const { event, data } of events(response.body)) {
      if (event === 'problem') throw problemIn(data)
      yield { event, data: parseJson(data) } as StreamEvent
    }
  }

  /** Submits a job without waiting; fetch the outcome by `get`. */
  async submit(job: JobRequest, options: AskOptions = {}): Promise<Pending> {
    return read(await this.#post(job, options, { prefer: 'respond-async' }))
  }

  /**
   * Streams a running job: stored events, then live ones; the last is the outcome. Leaving the loop does not cancel
   * the job. `after` is the id of the last event received.
   */
  async *watch(
    id: string,
    { after, signal }: WatchOptions = {},
  ): AsyncGenerator<StreamEvent & { readonly id?: number }> {
    const headers = {
      accept: 'text/event-stream',
      ...(after !== undefined && { 'last-event-id': String(after) }),
    }
    const init = { headers, ...(signal && { signal }) }
    const response = await this.#call('GET', `/v1/executions/${encodeURIComponent(id)}`, init)
    if (!response.ok || !response.body) {
      yield { event: 'outcome', data: await read(response) }
      return
    }
    for await (const { event, data, id: seq } of events(response.body)) {
      if (event === 'problem') throw problemIn(data)
      const told = { event, data: parseJson(data) } as StreamEvent
      yield seq === undefined ? told : { ...told, id: Number(seq) }
    }
  }

  /** Providers of the server's machine. */
  async providers(): Promise<readonly ProviderRow[]> {
    return read(await this.#call('GET', '/v1/providers'))
  }

  /** Sets the default provider from the next job on. Needs scope admin. */
  async preferProvider(name: string): Promise<ConfigInForce> {
    return read(await this.#call('PUT', '/v1/providers/default', jsonOf({ name })))
  }

  /** Changes the configuration; resolves to the values in force. Widening needs `config:widen`. */
  async changeConfig(patch: ConfigPatch): Promise<ConfigInForce> {
    return read(await this.#call('PATCH', '/v1/config', jsonOf(patch)))
  }

  /** Calls a capability, or an effect with a list of arguments. */
  async callCapability(name: string, args: readonly unknown[] = []): Promise<Outcome> {
    return read(await this.#call('POST', pathOf(name), jsonOf({ args })))
  }

  async capabilities(): Promise<{ readonly items: readonly CapabilityRow[] }> {
    return read(await this.#call('GET', '/v1/capabilities'))
  }

  /** Registers or replaces an effect. */
  async registerEffect(effect: z.input<typeof effectRequest>): Promise<EffectRegistered> {
    return read(await this.#call('POST', '/api/effects/register', jsonOf(effect)))
  }

  async executeEffect(
    effectId: string,
    input: unknown = null,
  ): Promise<z.output<typeof effectExecuted>> {
    return read(await this.#call('POST', '/api/effects/execute', jsonOf({ effectId, input })))
  }

  async effects(): Promise<z.output<typeof effectRows>> {
    return read(await this.#call('GET', '/api/effects'))
  }

  async effect(effectId: string): Promise<Effect> {
    return read(await this.#call('GET', `/api/effects/${encodeURIComponent(effectId)}`))
  }

  async removeEffect(effectId: string): Promise<void> {
    const path = `/api/effects/${encodeURIComponent(effectId)}`
    const response = await this.#call('DELETE', path)
    if (!response.ok) await read(response)
  }

  /** Last threats, oldest first, after sequence number `after`. */
  async threats(after = 0): Promise<readonly ThreatRow[]> {
    return read(await this.#call('GET', `/v1/threats?after=${after}`))
  }

  /** Outcome, or status of a running job. */
  async get(id: string): Promise<Outcome | Pending> {
    return read(await this.#call('GET', `/v1/executions/${encodeURIComponent(id)}`))
  }

  /** Timeline of a job so far, as SVG. `width` in pixels, 360 to 1600. */
  async draw(id: string, { width }: { readonly width?: number } = {}): Promise<string> {
    const size = width === undefined ? '' : `?width=${width}`
    const path = `/v1/executions/${encodeURIComponent(id)}/timeline.svg${size}`
    const response = await this.#call('GET', path)
    return response.ok ? await response.text() : await read<never>(response)
  }

  /** Cancels a job; resolves to its outcome if it had ended, else its status. */
  async cancel(id: string): Promise<Outcome | Pending> {
    return read(await this.#call('DELETE', `/v1/executions/${encodeURIComponent(id)}`))
  }

  /** Newest first; `next` is the cursor of the next page. */
  async list(
    options: ListOptions = {},
  ): Promise<{ readonly items: readonly ExecutionRow[]; readonly next: string | null }> {
    const query = new URLSearchParams()
    if (options.limit !== undefined) query.set('limit', String(options.limit))
    if (options.cursor !== undefined) query.set('cursor', options.cursor)
    for (const [name, value] of Object.entries(options.labels ?? {}))
      query.append('label', `${name}:${value}`)
    return read(await this.#call('GET', `/v1/executions?${query.toString()}`))
  }

  #post(
    job: JobRequest,
    { signal, idempotencyKey }: AskOptions,
    headers: Readonly<Record<string, string>>,
  ): Promise<Response> {
    return this.#call('POST', '/v1/executions', {
      body: JSON.stringify(job),
      headers: {
        'content-type': 'application/json',
        ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
        ...headers,
      },
      ...(signal && { signal }),
    })
  }

  #call(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    const { url, key, fetch: send = fetch } = this.#options
    const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${key}` }
    return send(new URL(path, url), { ...init, method, headers, redirect: 'error' })
  }
}

/** Returns the outcome inside a problem of a blocked or unavailable job. */
async function read<T>(response: Response): Promise<T> {
  const text = await response.text()
  if (response.ok) return parseJson(text) as T
  const problem = parsed(text)
  if (problem.outcome) return problem.outcome as T
  throw new MayflyProblem(response.status, problem)
}

function problemIn(data: string): MayflyProblem {
  const problem = parsed(data) as Problem & { readonly status?: number }
  return new MayflyProblem(problem.status ?? 500, problem)
}

function parsed(text: string): Problem {
  try {
    return parseJson(text) ?? {}
  } catch {
    return {}
  }
}

function jsonOf(body: unknown): RequestInit {
  return { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
}

interface RawEvent {
  readonly id?: string | undefined
  readonly event: string
  readonly data: string
}

async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<RawEvent> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const bytes of body) {
    // Searches the new bytes only, plus one character for a delimiter split over chunks.
    const from = Math.max(0, text.length - 1)
    text += decoder.decode(bytes, { stream: true })
    for (let end = text.indexOf('\n\n', from); end >= 0; end = text.indexOf('\n\n')) {
      const event = eventIn(text.slice(0, end))
      text = text.slice(end + 2)
      if (event) yield event
    }
    if (text.length > EVENT_CHARS_MAX) throw new RangeError('Cannot read an event this long')
  }
}

function pathOf(capability: string): string {
  return `/v1/capabilities/${encodeURIComponent(capability)}`
}

function eventIn(block: string): RawEvent | undefined {
  const read = /^event: (\w+)\ndata: ([^\n]*)(?:\nid: (\d+))?$/.exec(block)
  return read ? { event: read[1]!, data: read[2]!, id: read[3] } : undefined
}
