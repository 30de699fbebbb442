import { request } from 'node:http'
import { MayflyError } from '../../../../contract/error.ts'
import { tryParseJson } from '../../../../lib/parse-json.ts'

/**
 * Client of the Docker Engine API, which Podman also serves, over its unix socket. Each request has a deadline and a size limit
 * for its response, and is never retried. Relies on version 1.40 of the API (Docker 19.03, Podman 3).
 */
const VERSION = 'v1.40'
const ANSWER_BYTES_MAX = 2 ** 22
const MS_MAX = 60_000
/** An engine that hangs is found out here, and not by a request that may take long. */
const PING_MS_MAX = 5_000

export interface ContainerAnswer {
  readonly status: number
  readonly value: unknown
}

export class ContainerApi {
  readonly #socket: string
  readonly #hint: string

  /** `hint`: fix for an engine that does not respond. */
  constructor(socket: string, hint: string) {
    this.#socket = socket
    this.#hint = hint
  }

  /** Rejects with MayflyError UNAVAILABLE if the engine does not respond. */
  async ping(msMax = PING_MS_MAX): Promise<void> {
    await this.call('GET', '/_ping', { expected: [200], msMax })
  }

  /** Rejects with MayflyError UNAVAILABLE if no response comes, or one with an unexpected status. */
  async call(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    {
      body,
      expected,
      msMax = MS_MAX,
    }: { body?: unknown; expected: readonly number[]; msMax?: number },
  ): Promise<ContainerAnswer> {
    const answer = await this.#send(method, path, body, msMax)
    if (expected.includes(answer.status)) return answer
    const { message } = (answer.value ?? {}) as { readonly message?: unknown }
    const why = typeof message === 'string' ? message.slice(0, 300) : `status ${answer.status}`
    throw new MayflyError('UNAVAILABLE', `Cannot use the engine of containers: ${why}`)
  }

  #send(method: string, path: string, body: unknown, msMax: number): Promise<ContainerAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ContainerAnswer>()
    const isRaw = body instanceof Uint8Array
    const asked = request(
      {
        socketPath: this.#socket,
        path: `/${VERSION}${path}`,
        method,
        headers: {
          host: 'mayfly',
          'content-type': isRaw ? 'application/x-tar' : 'application/json',
        },
        ...(Number.isFinite(msMax) && { signal: AbortSignal.timeout(msMax) }),
      },
      (answer) => {
        const chunks: Buffer[] = []
        let bytes = 0
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes <= ANSWER_BYTES_MAX) chunks.push(chunk)
          else asked.destroy(new Error('its response is too large'))
        })
        answer.on('error', reject)
        answer.on('end', () => {
          const value = tryParseJson(Buffer.concat(chunks).toString())
          resolve({ status: answer.statusCode ?? 0, value })
        })
      },
    )
    asked.on('error', (error) => {
      const why = error.name === 'AbortError' ? `no response in ${msMax} ms` : error.message
      const text = `Cannot use the engine of containers: ${why}`
      reject(new MayflyError('UNAVAILABLE', text, { hint: this.#hint, cause: error }))
    })
    asked.end(body === undefined ? undefined : isRaw ? body : JSON.stringify(body))
    return promise
  }
}
