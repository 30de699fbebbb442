// @ts-check
/**
 * Client of a Mayfly server. Plain JavaScript without a package, so that Node 20, Deno, Bun and browsers load the file as it is.
 *
 * @typedef {import('./client-types.ts').ClientOptions} ClientOptions
 * @typedef {import('./client-types.ts').AskOptions} AskOptions
 * @typedef {import('./client-types.ts').Pending} Pending
 * @typedef {import('./client-types.ts').StreamEvent} StreamEvent
 * @typedef {import('./client-types.ts').WatchOptions} WatchOptions
 * @typedef {import('./client-types.ts').ConfigPatch} ConfigPatch
 * @typedef {import('./client-types.ts').ConfigInForce} ConfigInForce
 * @typedef {import('./client-types.ts').ListOptions} ListOptions
 * @typedef {import('./client-types.ts').AnsweredProblem} AnsweredProblem
 * @typedef {import('../contract/job.ts').JobRequest} JobRequest
 * @typedef {import('../contract/outcome.ts').Outcome} Outcome
 */
import { parseJsonOfAnybody as parseJson } from '../../guest/parse-json.js'
import { boundedBytes } from './bounded-bytes.js'
import { rawEventsOf } from './server-events.js'

/** Maximum of an answer in bytes after decompression; larger than any outcome. */
const ANSWER_BYTES_MAX = 384 * 2 ** 20
/** Text for a path that there is not: the API has each that the client asks for. */
const UNKNOWN_PATH = 'Cannot find this path'
/** Status of a problem without an answer. */
const NO_ANSWER = 0
/** Status of a stream that has no outcome at its end, as of a broken server behind a proxy. */
const BROKEN_STREAM = 502

/** Problem answered by the server instead of an outcome; `status` is 0 where no answer came. */
export class MayflyProblem extends Error {
  /** @override @readonly */
  name = 'MayflyProblem'
  /** @type {number} @readonly */
  status
  /** Stable, in capitals. @type {string} @readonly */
  code
  /** @type {unknown} @readonly */
  details
  /** Remedy, in one sentence. @type {string | undefined} @readonly */
  hint
  /** @type {number | undefined} @readonly */
  retryAfterMs

  /** @param {number} status @param {AnsweredProblem} problem */
  constructor(status, problem) {
    super(problem.message ?? `The server answered ${status}`)
    this.status = status
    this.code = problem.code ?? 'UNREADABLE'
    this.details = problem.details ?? null
    this.hint = problem.hint
    this.retryAfterMs = problem.retryAfter === undefined ? undefined : problem.retryAfter * 1000
  }
}

/**
 * Client of a Mayfly server, for any runtime with `fetch`. The end of a job is a value, whatever its status; errors
 * are MayflyProblem, that of an aborted signal, or a TypeError for an option that there is not.
 *
 * @example
 * const mayfly = new MayflyClient({ url: 'http://127.0.0.1:7421', key: process.env.MAYFLY_KEY })
 * const outcome = await mayfly.run({ code: 'return input.a + 1', input: { a: 1 } })
 * console.log(outcome.result) // 2
 */
export class MayflyClient {
  /** @type {ClientOptions} */
  #options

  /** @param {ClientOptions} options */
  constructor(options) {
    assertKnown(options, ['url', 'key', 'fetch'])
    this.#options = options
  }

  /**
   * Runs a job and waits for its outcome. Aborting cancels the job.
   *
   * @param {JobRequest} job
   * @param {AskOptions} [options]
   * @returns {Promise<Outcome>}
   */
  async run(job, options = {}) {
    return read(await this.#post(job, options, {}))
  }

  /**
   * Runs a job and streams its events; the last is the outcome. Leaving the loop cancels the job.
   *
   * @param {JobRequest} job
   * @param {AskOptions} [options]
   * @returns {AsyncGenerator<StreamEvent, void, undefined>}
   */
  async *stream(job, options = {}) {
    const response = await this.#post(job, options, { accept: 'text/event-stream' })
    const isStream = response.headers.get('content-type')?.startsWith('text/event-stream')
    if (!isStream || !response.body) {
      yield { event: 'outcome', data: await read(response) }
      return
    }
    for await (const told of eventsOf(response.body)) yield told
  }

  /**
   * Submits a job without waiting; fetch the outcome by `get`.
   *
   * @param {JobRequest} job
   * @param {AskOptions} [options]
   * @returns {Promise<Pending>}
   */
  async submit(job, options = {}) {
    return read(await this.#post(job, options, { prefer: 'respond-async' }))
  }

  /**
   * Streams a running job: stored events, then live ones; the last is the outcome. Leaving the loop does not cancel
   * the job. `after` is the id of the last event received.
   *
   * @param {string} id
   * @param {WatchOptions} [options]
   * @returns {AsyncGenerator<StreamEvent & { readonly id?: number }, void, undefined>}
   */
  async *watch(id, options = {}) {
    assertKnown(options, ['after', 'signal'])
    const { after, signal } = options
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
    for await (const told of eventsOf(response.body)) yield told
  }

  /**
   * Providers of the server's machine.
   *
   * @returns {Promise<readonly import('../contract/answers.ts').ProviderRow[]>}
   */
  async providers() {
    return read(await this.#call('GET', '/v1/providers'))
  }

  /**
   * Sets the default provider from the next job on. Needs scope admin.
   *
   * @param {string} name
   * @returns {Promise<ConfigInForce>}
   */
  async preferProvider(name) {
    return read(await this.#call('PUT', '/v1/providers/default', jsonOf({ name })))
  }

  /**
   * Changes the configuration; resolves to the values in force. Widening needs `config:widen`.
   *
   * @param {ConfigPatch} patch
   * @returns {Promise<ConfigInForce>}
   */
  async changeConfig(patch) {
    return read(await this.#call('PATCH', '/v1/config', jsonOf(patch)))
  }

  /**
   * Calls a capability, or an effect with a list of arguments.
   *
   * @param {string} name
   * @param {readonly unknown[]} [args]
   * @returns {Promise<Outcome>}
   */
  async callCapability(name, args = []) {
    return read(await this.#call('POST', pathOf(name), jsonOf({ args })))
  }

  /** @returns {Promise<{ readonly items: readonly import('../contract/capability.ts').CapabilityRow[] }>} */
  async capabilities() {
    return read(await this.#call('GET', '/v1/capabilities'))
  }

  /**
   * Registers or replaces an effect.
   *
   * @param {import('./client-types.ts').EffectAsked} effect
   * @returns {Promise<import('../contract/effect.ts').EffectRegistered>}
   */
  async registerEffect(effect) {
    return read(await this.#call('POST', '/api/effects/register', jsonOf(effect)))
  }

  /**
   * @param {string} effectId
   * @param {unknown} [input]
   * @returns {Promise<import('./client-types.ts').EffectExecuted>}
   */
  async executeEffect(effectId, input = null) {
    return read(await this.#call('POST', '/api/effects/execute', jsonOf({ effectId, input })))
  }

  /** @returns {Promise<import('./client-types.ts').EffectRows>} */
  async effects() {
    return read(await this.#call('GET', '/api/effects'))
  }

  /** @param {string} effectId @returns {Promise<import('../contract/effect.ts').Effect>} */
  async effect(effectId) {
    return read(await this.#call('GET', `/api/effects/${encodeURIComponent(effectId)}`))
  }

  /** @param {string} effectId @returns {Promise<void>} */
  async removeEffect(effectId) {
    const path = `/api/effects/${encodeURIComponent(effectId)}`
    const response = await this.#call('DELETE', path)
    if (!response.ok) await read(response)
  }

  /**
   * Last threats, oldest first, after sequence number `after`.
   *
   * @param {number} [after]
   * @returns {Promise<readonly import('../contract/answers.ts').ThreatRow[]>}
   */
  async threats(after = 0) {
    return read(await this.#call('GET', `/v1/threats?after=${after}`))
  }

  /**
   * Lines of the audit log, newest first; `next` is the cursor of the next page. A page may hold fewer lines than
   * `limit` and still have a `next`.
   *
   * @param {{ readonly limit?: number, readonly cursor?: string, readonly run?: string }} [options]
   * @returns {Promise<import('../contract/evidence.ts').AuditPage>}
   */
  async audit(options = {}) {
    assertKnown(options, ['limit', 'cursor', 'run'])
    const { limit, cursor, run } = options
    const query = new URLSearchParams()
    if (limit !== undefined) query.set('limit', String(limit))
    if (cursor !== undefined) query.set('cursor', cursor)
    if (run !== undefined) query.set('run', run)
    return read(await this.#call('GET', `/v1/audit?${query.toString()}`))
  }

  /** Outcome, or status of a running job. @param {string} id @returns {Promise<Outcome | Pending>} */
  async get(id) {
    return read(await this.#call('GET', `/v1/executions/${encodeURIComponent(id)}`))
  }

  /**
   * Timeline of a job so far, as SVG. `width` in pixels, 360 to 1600.
   *
   * @param {string} id
   * @param {{ readonly width?: number }} [options]
   * @returns {Promise<string>}
   */
  async draw(id, options = {}) {
    assertKnown(options, ['width'])
    const { width } = options
    const size = width === undefined ? '' : `?width=${width}`
    const path = `/v1/executions/${encodeURIComponent(id)}/timeline.svg${size}`
    const response = await this.#call('GET', path)
    return response.ok ? await textOf(response) : await read(response)
  }

  /**
   * Cancels a job; resolves to its outcome if it had ended, else its status.
   *
   * @param {string} id
   * @returns {Promise<Outcome | Pending>}
   */
  async cancel(id) {
    return read(await this.#call('DELETE', `/v1/executions/${encodeURIComponent(id)}`))
  }

  /**
   * Newest first; `next` is the cursor of the next page.
   *
   * @param {ListOptions} [options]
   * @returns {Promise<{ readonly items: readonly import('../history/history.ts').ExecutionRow[], readonly next: string | null }>}
   */
  async list(options = {}) {
    assertKnown(options, ['limit', 'cursor', 'labels'])
    const query = new URLSearchParams()
    if (options.limit !== undefined) query.set('limit', String(options.limit))
    if (options.cursor !== undefined) query.set('cursor', options.cursor)
    for (const [name, value] of Object.entries(options.labels ?? {}))
      query.append('label', `${name}:${value}`)
    return read(await this.#call('GET', `/v1/executions?${query.toString()}`))
  }

  /**
   * @param {JobRequest} job
   * @param {AskOptions} options
   * @param {Readonly<Record<string, string>>} headers
   * @returns {Promise<Response>}
   */
  #post(job, options, headers) {
    assertKnown(options, ['signal', 'idempotencyKey'])
    const { signal, idempotencyKey } = options
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

  /** @param {string} method @param {string} path @param {RequestInit} [init] @returns {Promise<Response>} */
  async #call(method, path, init = {}) {
    const { url, key, fetch: send = fetch } = this.#options
    const to = addressOf(path, url)
    const given = /** @type {Record<string, string>} */ (init.headers)
    const headers = { ...given, ...(key && { authorization: `Bearer ${key}` }) }
    try {
      return await send(to, { ...init, method, headers, redirect: 'error' })
    } catch (thrown) {
      // A TypeError of fetch says that there was no answer; an aborted signal has its own error.
      if (!(thrown instanceof TypeError) || init.signal?.aborted) throw thrown
      throw unreachable(to, thrown)
    }
  }
}

/** Throws MayflyProblem. @param {string} path @param {string | URL} base */
function addressOf(path, base) {
  try {
    const url = new URL(path, base)
    if (/^https?:$/.test(url.protocol)) return url
  } catch {
    // Not absolute.
  }
  throw new MayflyProblem(NO_ANSWER, {
    code: 'INVALID',
    message: `Cannot use "${String(base)}" as the URL of a server`,
    hint: 'Give the URL of its API with its scheme, such as http://127.0.0.1:7421',
  })
}

/** @type {Record<string, string>} */
const reasons = {
  ECONNREFUSED: 'no server listens there',
  ENOTFOUND: 'there is no host of that name',
  ECONNRESET: 'the connection was closed; the other side may expect https',
}

/** @param {URL} to @param {TypeError} thrown */
function unreachable({ origin }, thrown) {
  const { code = '', message } = /** @type {{ code?: string, message?: string }} */ (
    thrown.cause ?? thrown
  )
  const problem = new MayflyProblem(NO_ANSWER, {
    code: 'UNAVAILABLE',
    message: `Cannot reach a server at "${origin}": ${reasons[code] ?? (message || code)}`,
    hint: 'Start it with "mayfly serve", or give the URL of its API; its port is the port of the page + 1',
  })
  problem.cause = thrown
  return problem
}

/** Problem of an answer that is not one of the API, such as of the page's port. @param {Response} response @param {AnsweredProblem} [problem] */
function notOfApi(
  { status, url },
  { code = 'UNREADABLE', message = 'it is not from the API of Mayfly' } = {},
) {
  return new MayflyProblem(status, {
    code,
    message: `Cannot use the answer of "${url === '' ? 'the server' : new URL(url).origin}": ${message}`,
    hint: 'The port of the API is the port of the page + 1',
  })
}

/** A misspelt option would be ignored otherwise, as a signal that cancels nothing. @param {object} options @param {string[]} known */
function assertKnown(options, known) {
  const name = Object.keys(options).find((one) => !known.includes(one))
  if (name === undefined) return
  throw new TypeError(
    `Cannot use the option "${name}": there is no such option. Use ${known.join(', ')}`,
  )
}

/** Returns the outcome inside a problem of a blocked or unavailable job. @param {Response} response @returns {Promise<any>} */
async function read(response) {
  const text = await textOf(response)
  const problem = parsed(text)
  if (response.ok) {
    if (problem === undefined) throw notOfApi(response)
    return problem
  }
  if (problem?.outcome) return problem.outcome
  if (problem?.code === undefined) throw notOfApi(response)
  const isOfPage = response.status === 405 || problem.message === UNKNOWN_PATH
  if (isOfPage) throw notOfApi(response, problem)
  throw new MayflyProblem(response.status, problem)
}

/** Throws MayflyProblem for an answer that is too large. @param {Response} response @returns {Promise<string>} */
async function textOf(response) {
  // Some runtimes have neither streams nor bytes of an answer.
  if (!response.body?.getReader) return response.text()
  const bytes = await boundedBytes(response, ANSWER_BYTES_MAX)
  if (bytes) return new TextDecoder().decode(bytes)
  const message = `The answer has more than ${ANSWER_BYTES_MAX} bytes`
  throw new MayflyProblem(response.status, { code: 'UNREADABLE', message })
}

/** Undefined for what is no JSON. @param {string} text @returns {any} */
function parsed(text) {
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}

/** @param {unknown} body @returns {RequestInit} */
function jsonOf(body) {
  return { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
}

/**
 * Events of a stream. Throws MayflyProblem where there is no outcome to tell.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<any, void, undefined>}
 */
async function* eventsOf(body) {
  let hasEnded = false
  for await (const { event, data, id } of rawEventsOf(body)) {
    if (event === 'problem') {
      const problem = parsed(data) ?? {}
      throw new MayflyProblem(problem.status ?? 500, problem)
    }
    hasEnded = event === 'outcome'
    const told = { event, data: parseJson(data) }
    yield id === undefined ? told : { ...told, id: Number(id) }
  }
  if (hasEnded) return
  const message = 'The stream ended before the outcome'
  throw new MayflyProblem(BROKEN_STREAM, { code: 'UNREADABLE', message })
}

/** @param {string} capability */
function pathOf(capability) {
  return `/v1/capabilities/${encodeURIComponent(capability)}`
}
