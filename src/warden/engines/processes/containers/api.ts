import { request } from 'node:http'
import { MayflyError } from '../../../../contract/error.ts'
import { tryParseJson } from '../../../../lib/parse-json.ts'

/**
 * Client of the API that Docker has and Podman has taken over, on its unix socket: the few calls that a wall takes. Each has a
 * deadline and a bound on its answer, and none is sent twice. Relies on version 1.40 of the API (Docker 19.03, Podman 3).
 */
const VERSION = 'v1.40'
const ANSWER_BYTES_MAX = 2 ** 22
const MS_MAX = 60_000

export interface ContainerAnswer {
  readonly status: number
  readonly value: unknown
}

export class ContainerApi {
  readonly #socket: string

  constructor(socket: string) {
    this.#socket = socket
  }

  /** Rejects with MayflyError UNAVAILABLE without an answer, and for any other status than these. */
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
          else asked.destroy(new Error('it answers too much'))
        })
        answer.on('error', reject)
        answer.on('end', () => {
          const value = tryParseJson(Buffer.concat(chunks).toString())
          resolve({ status: answer.statusCode ?? 0, value })
        })
      },
    )
    asked.on('error', (error) => {
      const text = `Cannot use the engine of containers: ${error.message}`
      reject(new MayflyError('UNAVAILABLE', text, { cause: error }))
    })
    asked.end(body === undefined ? undefined : isRaw ? body : JSON.stringify(body))
    return promise
  }
}
