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
  /** Of the active endpoint: `http://127.0.0.1:7421`. */
  readonly url: string
  /** An API key. */
  readonly key: string
  /** In place of the global one, for a proxy or an authority of your own. */
  readonly fetch?: typeof fetch
}

export interface AskOptions {
  readonly signal?: AbortSignal
  /** The same key and job run once, however often they are sent. */
  readonly idempotencyKey?: string
}

/** An execution before its end. */
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

/** What of a configuration can be changed over HTTP, as it is given and as it is in force. */
export type ConfigPatch = OverrideInput
export type ConfigInForce = Override

export interface ListOptions {
  readonly limit?: number
  readonly cursor?: string
  readonly labels?: Readonly<Record<string, string>>
}

/** What the server said in place of an outcome. */
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

/** Characters of one event: more than an outcome can have. */
const EVENT_CHARS_MAX = 2 ** 28

/**
 * A Mayfly server, from anywhere that has `fetch`. How a job ends is a value, whatever its status; what is thrown is
 * a MayflyProblem, or what `fetch` throws.
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

  /** Runs one job and waits for its outcome. Aborting cancels the job. */
  async run(job: JobRequest, options: AskOptions = {}): Promise<Outcome> {
    return read(await this.#post(job, options, {}))
  }

  /** Runs one job and tells it as it happens; the last event is its outcome. Leaving the loop cancels the job. */
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

  /** Hands in one job and does not wait: ask `get` for its outcome. */
  async submit(job: JobRequest, options: AskOptions = {}): Promise<Pending> {
    return read(await this.#post(job, options, { prefer: 'respond-async' }))
  }

  /**
   * Tells what a job under way has told, as far as it is kept, and what it still tells; the last event is its outcome.
   * Leaving the loop leaves the job running. `after` is the id of the last event known.
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

  /** The walls of the machine it runs on. */
  async providers(): Promise<readonly ProviderRow[]> {
    return read(await this.#call('GET', '/v1/providers'))
  }

  /** Prefers another wall from the next job on. Needs scope admin. */
  async preferProvider(name: string): Promise<ConfigInForce> {
    return read(await this.#call('PUT', '/v1/providers/default', jsonOf({ name })))
  }

  /** Changes the configuration in force; answers with all that could be changed. Widening needs `config:widen`. */
  async changeConfig(patch: ConfigPatch): Promise<ConfigInForce> {
    return read(await this.#call('PATCH', '/v1/config', jsonOf(patch)))
  }

  /** Calls a capability, or an effect by the list of its arguments; its entry says whether it is isolated. */
  async callCapability(name: string, args: readonly unknown[] = []): Promise<Outcome> {
    return read(await this.#call('POST', pathOf(name), jsonOf({ args })))
  }

  async capabilities(): Promise<{ readonly items: readonly CapabilityRow[] }> {
    return read(await this.#call('GET', '/v1/capabilities'))
  }

  /** Keeps code to run it by name; one of the same name is replaced. */
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

  /** The last threats, oldest first; `after` is the `seq` of the last one known. */
  async threats(after = 0): Promise<readonly ThreatRow[]> {
    return read(await this.#call('GET', `/v1/threats?after=${after}`))
  }

  /** The outcome, or that there is none yet. */
  async get(id: string): Promise<Outcome | Pending> {
    return read(await this.#call('GET', `/v1/executions/${encodeURIComponent(id)}`))
  }

  /** The life of a job as a picture, as far as it has come: an SVG. `width` in pixels, 360 to 1600. */
  async draw(id: string, { width }: { readonly width?: number } = {}): Promise<string> {
    const size = width === undefined ? '' : `?width=${width}`
    const path = `/v1/executions/${encodeURIComponent(id)}/timeline.svg${size}`
    const response = await this.#call('GET', path)
    return response.ok ? await response.text() : await read<never>(response)
  }

  /** Ends a job: its outcome where it had ended, else what it was. */
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

/** Blocked and unavailable jobs are problems over HTTP, and outcomes all the same. */
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
    // What was there before has no end of an event in it, but maybe the first half of one.
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

/** Undefined for a comment. */
function pathOf(capability: string): string {
  return `/v1/capabilities/${encodeURIComponent(capability)}`
}

function eventIn(block: string): RawEvent | undefined {
  const read = /^event: (\w+)\ndata: ([^\n]*)(?:\nid: (\d+))?$/.exec(block)
  return read ? { event: read[1]!, data: read[2]!, id: read[3] } : undefined
}
