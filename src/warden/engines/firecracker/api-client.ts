import { request, type IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import * as z from 'zod'
import { MayflyError, messageOf, type ErrorCode } from '../../../contract/error.ts'
import { tryParseJson } from '../../../lib/parse-json.ts'
import type { ApiRequest, TokenBucket } from './api.ts'
import { HeldBytes } from '../held-bytes.ts'
import { escapedText } from './escaped.ts'
import { connectInJail } from './guest-socket.ts'

/**
 * Client of Firecracker's API: HTTP on a unix socket in the root of the jail. Each request has a connection of its own, a
 * deadline, and size limits on its response; nothing is retried. The server is the process that an escaping guest compromises
 * first, so its responses are hostile input: only a status, an error message and limits of disks are read. The message is escaped, truncated, and
 * only logged, because it contains host paths.
 *
 * Every failure is a MayflyError whose `details` are an ApiFailure. Relies on `connectInJail` to reach the right process.
 */
export interface ApiFailure {
  readonly fault: ApiFault
  /** Method and path, such as `PUT /vsock`. */
  readonly request: string
  readonly status?: number
}

/**
 * `refused`: status 4xx; `failed`: status 5xx; `late`: the deadline passed; `gone`: no socket, or closed without a response;
 * `malformed`: not HTTP, or not a response of the specification; `too-large`: above the size limits.
 */
export type ApiFault = 'refused' | 'failed' | 'late' | 'gone' | 'malformed' | 'too-large'

export interface ApiClientOptions {
  /** Host path of the socket. */
  readonly socket: string
  /** Required owner of the socket. */
  readonly uid: number
  /** Milliseconds for a request; 10,000 by default. */
  readonly msMax?: number
}

/** Long enough for many concurrent starts; a request that copies no memory takes milliseconds. */
const MS_MAX = 10_000
const ANSWER_BYTES_MAX = 65_536
const HEADER_BYTES_MAX = 8_192
const MESSAGE_CHARS_MAX = 500

const fault = z.object({ fault_message: z.string() })
const version = z.object({ firecracker_version: z.string().max(100) })

/** `GET /vm/config`, as far as limits of disks go. An absent bucket may be null. */
const configuration = z.object({
  drives: z
    .array(
      z.object({
        drive_id: z.string().max(64),
        rate_limiter: z
          .object({
            bandwidth: z.object({ size: z.number(), refill_time: z.number() }).nullish(),
          })
          .nullish(),
      }),
    )
    .max(16)
    .default([]),
})

const codeOf: Readonly<Record<ApiFault, ErrorCode>> = {
  refused: 'UNAVAILABLE',
  failed: 'UNAVAILABLE',
  late: 'UNAVAILABLE',
  gone: 'UNAVAILABLE',
  malformed: 'PROTOCOL',
  'too-large': 'PROTOCOL',
}

export class ApiClient {
  readonly #options: ApiClientOptions

  constructor(options: ApiClientOptions) {
    this.#options = options
  }

  /**
   * Sends a PUT or PATCH request; resolves at status 204. `msMax`: its own deadline, for requests that copy memory. Rejects with
   * MayflyError, see ApiFailure. After `late` or `gone` it is unknown whether the request took effect.
   */
  async send({ method, path, body }: ApiRequest, msMax?: number): Promise<void> {
    const name = `${method} ${path}`
    const { status, text } = await this.#call({ method, path, body: JSON.stringify(body) }, msMax)
    if (status === 204 && text === '') return
    throw answerFailure(name, status, text)
  }

  /** Release of the program, as text. */
  async version(): Promise<string> {
    return (await this.#get('/version', version)).firecracker_version
  }

  /** Bandwidth limit of a disk, as the machine reports it; undefined for no limit, and for no such disk. */
  async driveLimit(id: string): Promise<TokenBucket | undefined> {
    const { drives } = await this.#get('/vm/config', configuration)
    return drives.find(({ drive_id }) => drive_id === id)?.rate_limiter?.bandwidth ?? undefined
  }

  async #get<T>(path: string, shape: z.ZodType<T>): Promise<T> {
    const { status, text } = await this.#call({ method: 'GET', path })
    const { data } = shape.safeParse(tryParseJson(text))
    if (status === 200 && data !== undefined) return data
    throw answerFailure(`GET ${path}`, status, text)
  }

  async #call(parts: CallParts, msMax = this.#options.msMax ?? MS_MAX): Promise<Answer> {
    const name = `${parts.method} ${parts.path}`
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const fail = (kind: ApiFault, detail?: string) =>
      reject(failure(kind, { request: name }, detail))
    const socket = this.#connect(name)
    // After a change of protocol the request listens to its socket no more, and an 'error' without a listener ends this process.
    socket.on('error', () => undefined)
    const call = request({ ...headersFor(parts), createConnection: () => socket })
    const timer = setTimeout(() => fail('late', `no answer after ${msMax} ms`), msMax)
    call.on('error', (error: NodeJS.ErrnoException) =>
      fail(
        error.code?.startsWith('HPE_') ? 'malformed' : 'gone',
        escapedText(error.message, MESSAGE_CHARS_MAX),
      ),
    )
    call.on('response', (response) => readAnswer(response, resolve, fail))
    // Not part of the API. The request gives its socket up, so that only this function can destroy it.
    call.on('upgrade', () => fail('malformed', 'it changed the protocol'))
    call.on('close', () => fail('gone', 'it closed the connection'))
    call.end(parts.body)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      call.destroy()
      socket.destroy()
    }
  }

  #connect(name: string): Socket {
    try {
      return connectInJail(this.#options.socket, this.#options.uid)
    } catch (error) {
      if (error instanceof MayflyError) throw error
      throw failure('gone', { request: name }, escapedText(messageOf(error), MESSAGE_CHARS_MAX))
    }
  }
}

interface CallParts {
  readonly method: string
  readonly path: string
  readonly body?: string
}

interface Answer {
  readonly status: number
  readonly text: string
}

function headersFor({ method, path, body }: CallParts) {
  const json = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body ?? ''),
  }
  return {
    method,
    path,
    maxHeaderSize: HEADER_BYTES_MAX,
    headers: { host: 'localhost', accept: 'application/json', ...(body === undefined ? {} : json) },
  } as const
}

function readAnswer(
  response: IncomingMessage,
  resolve: (answer: Answer) => void,
  fail: (kind: ApiFault, detail?: string) => void,
): void {
  const body = new HeldBytes(ANSWER_BYTES_MAX)
  response.on('data', (chunk: Buffer) => {
    if (!body.add(chunk)) fail('too-large', `more than ${ANSWER_BYTES_MAX} bytes`)
  })
  response.on('error', (error) => fail('gone', escapedText(error.message, MESSAGE_CHARS_MAX)))
  response.on('end', () => {
    if (response.complete)
      resolve({ status: response.statusCode ?? 0, text: body.take().toString() })
    else fail('gone', 'half an answer')
  })
}

function answerFailure(name: string, status: number, text: string): MayflyError {
  const message = fault.safeParse(tryParseJson(text)).data?.fault_message
  const kind = kindOf(status, message !== undefined)
  return failure(kind, { request: name, status }, escapedText(message ?? text, MESSAGE_CHARS_MAX))
}

/** Fault of an error status. A 4xx without the error message of Firecracker is malformed. */
function kindOf(status: number, hasMessage: boolean): ApiFault {
  if (status >= 500 && status < 600) return 'failed'
  return status >= 400 && status < 500 && hasMessage ? 'refused' : 'malformed'
}

const meanings: Readonly<Record<ApiFault, string>> = {
  refused: 'refused it',
  failed: 'failed to execute it',
  late: 'did not answer in time',
  gone: 'is gone',
  malformed: 'sent a malformed answer',
  'too-large': 'sent too large an answer',
}

/** Makes an API failure; for steps before the first request `request` is the name of the step. */
export function failure(
  kind: ApiFault,
  parts: Omit<ApiFailure, 'fault'>,
  detail?: string,
): MayflyError {
  const details: ApiFailure = { fault: kind, ...parts }
  return new MayflyError(
    codeOf[kind],
    `Cannot do "${parts.request}": the machine ${meanings[kind]}`,
    {
      details,
      ...(detail === undefined ? {} : { detail }),
    },
  )
}

/** Kind of an API failure; undefined for other errors. */
export function faultOf(error: unknown): ApiFault | undefined {
  const details =
    error instanceof MayflyError ? (error.details as Partial<ApiFailure> | undefined) : undefined
  return details?.fault
}

/** True for failures that a start again may not meet: a refused request would be refused again. */
export function mayPass(error: unknown): boolean {
  const fault = faultOf(error)
  return fault !== undefined && fault !== 'refused'
}
